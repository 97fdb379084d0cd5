"""Programs of plain loops that no strategy was written for: what a user might bring.

Sums, recurrences, updates in place, triangles, strides, bands, conditions, scalars, integers, several nests. Each runs
as Python too, on whole numpy arrays; all sizes are parameters, so that Python knows them.
"""

# ruff: noqa: F821, B007, E741
# mypy: disable-error-code="name-defined, valid-type, no-untyped-def, type-arg"
from math import exp


def conv_dil(N: "size", X: "f64[N, N]", W: "f64[3, 3]", Y: "f64[N, N]"):
    for i in range(4, N - 4):
        for j in range(4, N - 4):
            Y[i, j] = 0.0
            for r in range(3):
                for s in range(3):
                    Y[i, j] += X[i + 2 * r - 2, j + 2 * s - 2] * W[r, s]


def blur2(N: "size", X: "f64[N, N]", T: "f64[N, N]", Y: "f64[N, N]"):
    for i in range(N):
        for j in range(1, N - 1):
            T[i, j] = (X[i, j - 1] + X[i, j] + X[i, j + 1]) / 3.0
    for i in range(1, N - 1):
        for j in range(1, N - 1):
            Y[i, j] = (T[i - 1, j] + T[i, j] + T[i + 1, j]) / 3.0


def prefix2d(N: "size", M: "size", A: "f64[N, M]"):
    for i in range(N):
        for j in range(1, M):
            A[i, j] += A[i, j - 1]
    for j in range(M):
        for i in range(1, N):
            A[i, j] += A[i - 1, j]


def matmul_tt(N: "size", M: "size", K: "size", A: "f32[K, N]", B: "f32[M, K]", C: "f32[N, M]"):
    for i in range(N):
        for j in range(M):
            C[i, j] = 0.0
    for k in range(K):
        for j in range(M):
            for i in range(N):
                C[i, j] += A[k, i] * B[j, k]


def backsolve(N: "size", U: "f64[N, N]", x: "f64[N]", b: "f64[N]"):
    for i in range(N - 1, -1, -1):
        x[i] = b[i]
        for j in range(i + 1, N):
            x[i] -= U[i, j] * x[j]
        x[i] = x[i] / U[i, i]


def sw(N: "size", M: "size", S: "f64[N, M]", H: "f64[N + 1, M + 1]"):
    for i in range(1, N + 1):
        for j in range(1, M + 1):
            H[i, j] = max(0.0, H[i - 1, j - 1] + S[i - 1, j - 1], H[i - 1, j] - 1.0, H[i, j - 1] - 1.0)


def lcs_band(N: "size", A: "f64[N, N]"):
    for i in range(1, N):
        for j in range(max(1, i - 3), min(N, i + 4)):
            A[i, j] = max(A[i - 1, j - 1] + 1.0, A[i - 1, j]) * 0.5


def attention(
    N: "size",
    D: "size",
    Q: "f64[N, D]",
    K: "f64[N, D]",
    V: "f64[N, D]",
    S: "f64[N, N]",
    O: "f64[N, D]",
    m: "f64[N]",
    z: "f64[N]",
):
    for i in range(N):
        m[i] = -1e30
        for j in range(N):
            S[i, j] = 0.0
            for d in range(D):
                S[i, j] += Q[i, d] * K[j, d]
            m[i] = max(m[i], S[i, j])
        z[i] = 0.0
        for j in range(N):
            S[i, j] = exp(S[i, j] - m[i])
            z[i] += S[i, j]
        for d in range(D):
            O[i, d] = 0.0
            for j in range(N):
                O[i, d] += S[i, j] * V[j, d]
            O[i, d] = O[i, d] / z[i]


def causal(N: "size", D: "size", Q: "f64[N, D]", K: "f64[N, D]", S: "f64[N, N]"):
    for i in range(N):
        for j in range(i + 1):
            S[i, j] = 0.0
            for d in range(D):
                S[i, j] += Q[i, d] * K[j, d]


def batchmm(B: "size", N: "size", A: "f32[B, N, N]", C: "f32[B, N, N]", R: "f32[B, N, N]"):
    for b in range(B):
        for i in range(N):
            for j in range(N):
                for k in range(N):
                    R[b, i, j] += A[b, i, k] * C[b, k, j]


def tensor4(N: "size", A: "f64[N, N, N, N]", B: "f64[N, N]", C: "f64[N, N, N, N]"):
    for a in range(N):
        for b in range(N):
            for c in range(N):
                for d in range(N):
                    C[a, b, c, d] = 0.0
                    for e in range(N):
                        C[a, b, c, d] += A[a, b, e, d] * B[e, c]


def stride2(N: "size", A: "f64[2 * N]", B: "f64[N]"):
    for i in range(0, 2 * N, 2):
        A[i] = A[i] * 2.0 + 1.0
    for i in range(N):
        B[i] = A[2 * i] - A[2 * i + 1]


def redblack(T: "size", N: "size", A: "f64[N, N]"):
    for t in range(T):
        for i in range(1, N - 1):
            for j in range(1 + i % 2, N - 1, 2):
                A[i, j] = 0.25 * (A[i - 1, j] + A[i + 1, j] + A[i, j - 1] + A[i, j + 1])


def life3(T: "size", N: "size", A: "f64[N, N]", B: "f64[N, N]"):
    for t in range(T):
        for i in range(1, N - 1):
            for j in range(1, N - 1):
                B[i, j] = (
                    A[i - 1, j - 1]
                    + A[i - 1, j]
                    + A[i - 1, j + 1]
                    + A[i, j - 1]
                    + A[i, j + 1]
                    + A[i + 1, j - 1]
                    + A[i + 1, j]
                    + A[i + 1, j + 1]
                )
        for i in range(1, N - 1):
            for j in range(1, N - 1):
                A[i, j] = max(0.0, min(1.0, B[i, j] - A[i, j] * 2.0))


def mean_var(N: "size", M: "size", X: "f64[N, M]", mu: "f64[M]", va: "f64[M]"):
    for j in range(M):
        mu[j] = 0.0
        va[j] = 0.0
    for i in range(N):
        for j in range(M):
            mu[j] += X[i, j]
            va[j] += X[i, j] * X[i, j]
    for j in range(M):
        mu[j] = mu[j] / N
        va[j] = va[j] / N - mu[j] * mu[j]


def upper_inv(N: "size", L: "f64[N, N]", X: "f64[N, N]"):
    for j in range(N):
        X[j, j] = 1.0 / L[j, j]
        for i in range(j + 1, N):
            s = 0.0
            for k in range(j, i):
                s += L[i, k] * X[k, j]
            X[i, j] = -s / L[i, i]


def matpow(N: "size", A: "f64[N, N]", B: "f64[N, N]", C: "f64[N, N]"):
    for t in range(3):
        for i in range(N):
            for j in range(N):
                C[i, j] = 0.0
                for k in range(N):
                    C[i, j] += A[i, k] * B[k, j]
        for i in range(N):
            for j in range(N):
                B[i, j] = C[i, j] * 0.1


def rev_copy(N: "size", A: "f64[N]", B: "f64[N]"):
    for i in range(N):
        B[N - 1 - i] = A[i]
    for i in range(N - 1, 0, -1):
        B[i] = B[i] + B[i - 1]


def iir(N: "size", M: "size", X: "f64[N, M]", Y: "f64[N, M]"):
    for j in range(M):
        y1 = 0.0
        y2 = 0.0
        for i in range(N):
            y = X[i, j] + 0.5 * y1 - 0.25 * y2
            Y[i, j] = y
            y2 = y1
            y1 = y


def minplus(N: "size", A: "f64[N, N]", B: "f64[N, N]", C: "f64[N, N]"):
    for i in range(N):
        for j in range(N):
            for k in range(N):
                C[i, j] = min(C[i, j], A[i, k] + B[k, j])


def lu_unblocked_rect(N: "size", M: "size", A: "f64[N, M]"):
    for k in range(M):
        for i in range(k + 1, N):
            if k < N:
                A[i, k] = A[i, k] / A[k, k]
        for i in range(k + 1, N):
            for j in range(k + 1, M):
                A[i, j] -= A[i, k] * A[k, j]


def ints(N: "size", A: "i64[N, N]", B: "i64[N, N]", C: "i64[N, N]"):
    for i in range(N):
        for j in range(N):
            for k in range(N):
                C[i, j] += A[i, k] * B[k, j]


def tri_pack(N: "size", A: "f64[N, N]", s: "f64[1]"):
    s[0] = 0.0
    for i in range(N):
        for j in range(i, N):
            s[0] += A[i, j] * A[j, i]


def kron(N: "size", A: "f64[N, N]", B: "f64[3, 3]", C: "f64[3 * N, 3 * N]"):
    for i in range(N):
        for j in range(N):
            for p in range(3):
                for q in range(3):
                    C[3 * i + p, 3 * j + q] = A[i, j] * B[p, q]


def wave1d(T: "size", N: "size", U: "f64[3, N]"):
    for t in range(2, T):
        for i in range(1, N - 1):
            U[2, i] = 2.0 * U[1, i] - U[0, i] + 0.1 * (U[1, i - 1] - 2.0 * U[1, i] + U[1, i + 1])
        for i in range(N):
            U[0, i] = U[1, i]
        for i in range(N):
            U[1, i] = U[2, i]


def heat_hist(T: "size", N: "size", U: "f64[T + 1, N]"):
    for t in range(T):
        for i in range(2, N - 2):
            U[t + 1, i] = (
                0.1 * U[t, i - 2] + 0.2 * U[t, i - 1] + 0.4 * U[t, i] + 0.2 * U[t, i + 1] + 0.1 * U[t, i + 2]
            )


def cond_update(N: "size", A: "f64[N, N]", B: "f64[N, N]"):
    for i in range(N):
        for j in range(N):
            if i + j < N and i != j:
                A[i, j] = B[j, i] * 2.0
            else:
                A[i, j] += 1.0


def gram(N: "size", M: "size", A: "f32[N, M]", G: "f32[M, M]"):
    for i in range(M):
        for j in range(i, M):
            G[i, j] = 0.0
            for k in range(N):
                G[i, j] += A[k, i] * A[k, j]
            G[j, i] = G[i, j]


def hessen(N: "size", A: "f64[N, N]", v: "f64[N]", w: "f64[N]"):
    for k in range(N - 2):
        for i in range(k + 1, N):
            v[i] = A[i, k]
        for j in range(k, N):
            w[j] = 0.0
            for i in range(k + 1, N):
                w[j] += v[i] * A[i, j]
            for i in range(k + 1, N):
                A[i, j] -= 0.001 * v[i] * w[j]


def conv2d(
    C: "size", K: "size", N: "size", X: "f32[C, N + 2, N + 2]", W: "f32[K, C, 3, 3]", Y: "f32[K, N, N]"
):
    for k in range(K):
        for i in range(N):
            for j in range(N):
                Y[k, i, j] = 0.0
                for c in range(C):
                    for r in range(3):
                        for s in range(3):
                            Y[k, i, j] += X[c, i + r, j + s] * W[k, c, r, s]


def depthwise(C: "size", N: "size", X: "f32[C, N + 2, N + 2]", W: "f32[C, 3, 3]", Y: "f32[C, N, N]"):
    for c in range(C):
        for i in range(N):
            for j in range(N):
                Y[c, i, j] = 0.0
                for r in range(3):
                    for s in range(3):
                        Y[c, i, j] += X[c, i + r, j + s] * W[c, r, s]


def soa4(Z: "size", A: "f32[4, 4, Z]", X: "f32[4, Z]", Y: "f32[4, Z]"):
    for z in range(Z):
        for i in range(4):
            s = 0.0
            for k in range(4):
                s += A[i, k, z] * X[k, z]
            Y[i, z] = s


def batch3(Z: "size", A: "f32[Z, 3, 3]", X: "f32[Z, 3]", Y: "f32[Z, 3]"):
    for z in range(Z):
        for i in range(3):
            Y[z, i] = 0.0
            for k in range(3):
                Y[z, i] += A[z, i, k] * X[z, k]


def contract3(
    I: "size", J: "size", K: "size", L: "size", A: "f64[I, L, K]", B: "f64[L, J]", C: "f64[I, J, K]"
):
    for i in range(I):
        for j in range(J):
            for k in range(K):
                C[i, j, k] = 0.0
                for l in range(L):
                    C[i, j, k] += A[i, l, k] * B[l, j]


def trsm_rhs(N: "size", M: "size", L: "f64[N, N]", B: "f64[N, M]"):
    for j in range(M):
        for i in range(N):
            s = B[i, j]
            for k in range(i):
                s -= L[i, k] * B[k, j]
            B[i, j] = s / L[i, i]


def boxclamp(N: "size", M: "size", X: "f32[N, M]", Y: "f32[N, M]"):
    for i in range(N):
        for j in range(M):
            Y[i, j] = 0.0
            for r in range(max(0, i - 2), min(N, i + 3)):
                for s in range(max(0, j - 2), min(M, j + 3)):
                    Y[i, j] += X[r, s]


def interp(N: "size", X: "f32[N, N]", Y: "f32[2 * N, 2 * N]"):
    for i in range(N - 1):
        for j in range(N - 1):
            Y[2 * i, 2 * j] = X[i, j]
            Y[2 * i + 1, 2 * j] = 0.5 * (X[i, j] + X[i + 1, j])
            Y[2 * i, 2 * j + 1] = 0.5 * (X[i, j] + X[i, j + 1])
            Y[2 * i + 1, 2 * j + 1] = 0.25 * (X[i, j] + X[i + 1, j] + X[i, j + 1] + X[i + 1, j + 1])


def maxpool(C: "size", N: "size", X: "f32[C, 2 * N, 2 * N]", Y: "f32[C, N, N]"):
    for c in range(C):
        for i in range(N):
            for j in range(N):
                Y[c, i, j] = max(
                    X[c, 2 * i, 2 * j],
                    X[c, 2 * i + 1, 2 * j],
                    X[c, 2 * i, 2 * j + 1],
                    X[c, 2 * i + 1, 2 * j + 1],
                )


def lcs_ab(N: "size", M: "size", a: "i32[N]", b: "i32[M]", L: "i32[N + 1, M + 1]"):
    for i in range(1, N + 1):
        for j in range(1, M + 1):
            L[i, j] = L[i - 1, j - 1] + 1 if a[i - 1] == b[j - 1] else max(L[i - 1, j], L[i, j - 1])


def sepfilter(N: "size", M: "size", X: "f32[N, M]", T: "f32[N, M]", Y: "f32[N, M]", w: "f32[5]"):
    for i in range(N):
        for j in range(M):
            if j >= 2 and j < M - 2:
                T[i, j] = (
                    w[0] * X[i, j - 2]
                    + w[1] * X[i, j - 1]
                    + w[2] * X[i, j]
                    + w[3] * X[i, j + 1]
                    + w[4] * X[i, j + 2]
                )
            else:
                T[i, j] = X[i, j]
    for i in range(N):
        for j in range(M):
            if i >= 2 and i < N - 2:
                Y[i, j] = (
                    w[0] * T[i - 2, j]
                    + w[1] * T[i - 1, j]
                    + w[2] * T[i, j]
                    + w[3] * T[i + 1, j]
                    + w[4] * T[i + 2, j]
                )
            else:
                Y[i, j] = T[i, j]


def softmax_rows(N: "size", M: "size", X: "f32[N, M]", Y: "f32[N, M]"):
    for i in range(N):
        m = -1e30
        for j in range(M):
            m = max(m, X[i, j])
        s = 0.0
        for j in range(M):
            Y[i, j] = exp(X[i, j] - m)
            s += Y[i, j]
        for j in range(M):
            Y[i, j] = Y[i, j] / s


def knapsack(N: "size", W: "size", v: "f64[N]", D: "f64[N + 1, W]"):
    for i in range(N):
        for w in range(W):
            if w >= 7:
                D[i + 1, w] = max(D[i, w], D[i, w - 7] + v[i])
            else:
                D[i + 1, w] = D[i, w]


def short_rows(T: "size", N: "size", A: "f32[N + 1, 8]"):
    for t in range(T):
        for i in range(N):
            for k in range(2):
                A[i, k + 1] = 0.5 * (A[i + 1, k] - A[i, k + 1])


PROGRAMS = (
    conv_dil,
    blur2,
    prefix2d,
    matmul_tt,
    backsolve,
    sw,
    lcs_band,
    attention,
    causal,
    batchmm,
    tensor4,
    stride2,
    redblack,
    life3,
    mean_var,
    upper_inv,
    matpow,
    rev_copy,
    iir,
    minplus,
    lu_unblocked_rect,
    ints,
    tri_pack,
    kron,
    wave1d,
    heat_hist,
    cond_update,
    gram,
    hessen,
    conv2d,
    depthwise,
    soa4,
    batch3,
    contract3,
    trsm_rhs,
    boxclamp,
    interp,
    maxpool,
    lcs_ab,
    sepfilter,
    softmax_rows,
    knapsack,
    short_rows,
)
