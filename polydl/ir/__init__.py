"""Scalar expressions and the typed loop IR: build, print, parse, verify, rewrite, simplify, interpret."""

from __future__ import annotations
