#pragma once

#include <cmath>

#include "sep/host_device.hpp"

// The arithmetic of a transform, for a number at a time: processors and GPUs go through it in other
// orders, and give the same bits. In an unnamed namespace because it is compiled for several
// instruction sets, and no copy may serve another.
namespace sep {
namespace {

struct Complex {
    double re, im;
};

SEP_HOST_DEVICE inline Complex operator+(Complex a, Complex b) {
    return {a.re + b.re, a.im + b.im};
}
SEP_HOST_DEVICE inline Complex operator-(Complex a, Complex b) {
    return {a.re - b.re, a.im - b.im};
}
SEP_HOST_DEVICE inline Complex operator*(Complex a, Complex b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
SEP_HOST_DEVICE inline Complex conj(Complex a) { return {a.re, -a.im}; }
SEP_HOST_DEVICE inline Complex times_i(Complex a) { return {-a.im, a.re}; }

/// A step of a forward transform: four numbers a quarter apart become those of four transforms.
SEP_HOST_DEVICE inline void quarter_forward(Complex& a, Complex& b, Complex& c, Complex& d,
                                            Complex w1, Complex w2, Complex w3) {
    const Complex even = a + c;
    const Complex odd = b + d;
    const Complex apart = a - c;
    const Complex turned = times_i(b - d);
    a = even + odd;
    b = (apart - turned) * w1;
    c = (even - odd) * w2;
    d = (apart + turned) * w3;
}

/// The step back, times four.
SEP_HOST_DEVICE inline void quarter_back(Complex& a, Complex& b, Complex& c, Complex& d, Complex w1,
                                         Complex w2, Complex w3) {
    const Complex y1 = b * conj(w1);
    const Complex y2 = c * conj(w2);
    const Complex y3 = d * conj(w3);
    const Complex even = a + y2;
    const Complex odd = a - y2;
    const Complex sum = y1 + y3;
    const Complex turned = times_i(y1 - y3);
    a = even + sum;
    b = odd + turned;
    c = even - sum;
    d = odd - turned;
}

SEP_HOST_DEVICE inline void half_step(Complex& a, Complex& b) {
    const Complex sum = a + b;
    b = a - b;
    a = sum;
}

/// `x` with another size.
SEP_HOST_DEVICE inline Complex sized(Complex x, double size) {
    const double now = std::sqrt(x.re * x.re + x.im * x.im);
    const double ratio = size / (now > 0 ? now : 1);
    return {now > 0 ? x.re * ratio : size, x.im * ratio};
}

/// Frequencies k and n / 2 - k of a real series of n, from the transform of its even places plus i
/// times its odd ones; both are doubled, and the second is the conjugate.
struct Pair {
    Complex low, high;
};

SEP_HOST_DEVICE inline Pair pair_of(Complex a, Complex b, Complex root) {
    const Complex even = a + conj(b);
    const Complex apart = a - conj(b);
    const Complex odd = root * Complex{apart.im, -apart.re};
    return {even + odd, even - odd};
}

/// The way back from `pair_of`.
SEP_HOST_DEVICE inline void unpair(Pair x, Complex root, Complex& a, Complex& b) {
    const Complex even = x.low + x.high;
    const Complex odd = conj(root) * (x.low - x.high);
    a = even + times_i(odd);
    b = conj(even) + times_i(conj(odd));
}

}  // namespace
}  // namespace sep
