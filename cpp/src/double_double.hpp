#pragma once

#include <cmath>

namespace sep {

/// An unevaluated sum hi + lo, |lo| <= ulp(hi) / 2: about 106 bits from IEEE basic operations.
/// Source: T. J. Dekker, "A floating-point technique for extending the available precision",
/// Numerische Mathematik 18 (1971).
struct DoubleDouble {
    double hi = 0;
    double lo = 0;

    constexpr DoubleDouble() = default;
    constexpr DoubleDouble(double value) : hi(value) {}
    constexpr DoubleDouble(double high, double low) : hi(high), lo(low) {}
};

/// a + b and its rounding error, for |a| >= |b|.
inline DoubleDouble fast_two_sum(double a, double b) {
    const double sum = a + b;
    return {sum, b - (sum - a)};
}

/// a + b and its rounding error.
inline DoubleDouble two_sum(double a, double b) {
    const double sum = a + b;
    const double b_part = sum - a;
    return {sum, (a - (sum - b_part)) + (b - b_part)};
}

/// a * b and its rounding error, by splitting both factors into 26-bit halves.
inline DoubleDouble two_product(double a, double b) {
    constexpr double splitter = 134217729.0;  // 2^27 + 1
    const double a_big = splitter * a;
    const double b_big = splitter * b;
    const double a_hi = a_big - (a_big - a);
    const double b_hi = b_big - (b_big - b);
    const double a_lo = a - a_hi;
    const double b_lo = b - b_hi;
    const double product = a * b;
    const double error = ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo;
    return {product, error};
}

inline DoubleDouble operator-(DoubleDouble a) { return {-a.hi, -a.lo}; }

inline DoubleDouble operator+(DoubleDouble a, DoubleDouble b) {
    const DoubleDouble high = two_sum(a.hi, b.hi);
    const DoubleDouble low = two_sum(a.lo, b.lo);
    const DoubleDouble sum = fast_two_sum(high.hi, high.lo + low.hi);
    return fast_two_sum(sum.hi, sum.lo + low.lo);
}

inline DoubleDouble operator-(DoubleDouble a, DoubleDouble b) { return a + -b; }

inline DoubleDouble operator*(DoubleDouble a, DoubleDouble b) {
    const DoubleDouble product = two_product(a.hi, b.hi);
    return fast_two_sum(product.hi, product.lo + (a.hi * b.lo + a.lo * b.hi));
}

inline DoubleDouble operator/(DoubleDouble a, DoubleDouble b) {
    const double first = a.hi / b.hi;
    const DoubleDouble rest = a - b * first;
    const double second = rest.hi / b.hi;
    const DoubleDouble rest2 = rest - b * second;
    const double third = rest2.hi / b.hi;
    return fast_two_sum(first, second) + DoubleDouble(third);
}

/// 2 artanh(s) = ln((1 + s) / (1 - s)), for |s| <= 1/3: 40 terms of its series reach 2^-120.
inline DoubleDouble two_artanh(DoubleDouble s) {
    const DoubleDouble square = s * s;
    DoubleDouble sum = 0.0;
    for (int j = 39; j >= 0; --j)
        sum = sum * square + DoubleDouble(1.0) / DoubleDouble(2.0 * j + 1);
    return sum * s * DoubleDouble(2.0);
}

/// log2 of a positive number, exact for powers of two.
inline DoubleDouble log2_of(double value) {
    int exponent = 0;
    const double fraction = std::frexp(value, &exponent);  // in [1/2, 1); exact
    const DoubleDouble s = DoubleDouble(2 * fraction - 1) / DoubleDouble(2 * fraction + 1);
    const DoubleDouble ln2 = two_artanh(DoubleDouble(1.0) / DoubleDouble(3.0));
    return DoubleDouble(exponent - 1.0) + two_artanh(s) / ln2;
}

/// e^(-x) for 0 <= x.hi <= 1024: the Taylor series of x / 2^14, squared 14 times. The squarings
/// cost 14 of the 106 bits.
inline DoubleDouble exp_minus(DoubleDouble x) {
    constexpr int squarings = 14;
    const double scale = std::ldexp(1.0, -squarings);
    const DoubleDouble small{-x.hi * scale, -x.lo * scale};
    DoubleDouble sum = 1.0;
    for (int j = 22; j >= 1; --j) sum = sum * small / DoubleDouble(j) + DoubleDouble(1.0);
    for (int i = 0; i < squarings; ++i) sum = sum * sum;
    return sum;
}

/// arctan(1 / n) for an integer n >= 5, by its series: 25 terms reach 2^-118.
inline DoubleDouble arctan_of_inverse(int n) {
    const DoubleDouble x = DoubleDouble(1.0) / DoubleDouble(n);
    const DoubleDouble square = x * x;
    DoubleDouble sum = 0.0;
    for (int j = 24; j >= 0; --j) {
        sum = DoubleDouble(1.0) / DoubleDouble(2.0 * j + 1) - sum * square;
    }
    return sum * x;
}

/// 2 pi. Source: J. Machin's formula, pi / 4 = 4 arctan(1/5) - arctan(1/239).
inline DoubleDouble two_pi() {
    return DoubleDouble(32.0) * arctan_of_inverse(5) - DoubleDouble(8.0) * arctan_of_inverse(239);
}

/// sin x for |x| <= 2 pi, by its Taylor series: 32 terms reach 2^-110 of the largest term.
inline DoubleDouble sine(DoubleDouble x) {
    const DoubleDouble square = x * x;
    DoubleDouble sum = 0.0;
    for (int j = 31; j >= 1; --j) {
        sum = (DoubleDouble(1.0) - sum) * square / DoubleDouble(2.0 * j * (2.0 * j + 1));
    }
    return x * (DoubleDouble(1.0) - sum);
}

/// Square root by one Newton step from the rounded one.
inline DoubleDouble square_root(DoubleDouble x) {
    const double root = std::sqrt(x.hi);
    const DoubleDouble rest = x - DoubleDouble(root) * DoubleDouble(root);
    return DoubleDouble(root) + rest / DoubleDouble(2.0 * root);
}

}  // namespace sep
