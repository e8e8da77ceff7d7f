//! The table of scalar functions: name, value in f64, WGSL form, derivative.
//!
//! The CPU executor's vectorized f32 forms live with its other kernels; a test holds them to the values here.

use super::Builder;
use super::graph::Value;

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unary {
    /// `-x`
    Negate,
    /// `|x|`
    Abs,
    /// -1, 0 or 1
    Sign,
    /// `eˣ`
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// `1/x`
    Reciprocal,
    /// Hyperbolic tangent.
    Tanh,
    /// `1/(1 + e⁻ˣ)`
    Sigmoid,
    /// `ln(1 + eˣ)`, without overflow.
    Softplus,
    /// The error function.
    Erf,
    /// Sine of radians.
    Sin,
    /// Cosine of radians.
    Cos,
    /// The largest whole number not above `x`.
    Floor,
    /// `x` where `x` is not below 0, else 0; keeps NaN.
    Relu,
    /// 1 where `x` is infinite or NaN, else 0; found by the exponent bits.
    NonFinite,
}

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Subtract,
    /// `a · b`
    Multiply,
    /// `a / b`; of `f32` only.
    Divide,
    /// The larger. Of a number and NaN an executor may give either: operands that may be NaN are tested before.
    Max,
    /// The smaller. Of a number and NaN an executor may give either: operands that may be NaN are tested before.
    Min,
    /// 1 where `a < b`, else 0.
    Less,
    /// 1 where `a ≤ b`, else 0.
    LessEqual,
    /// 1 where `a = b`, else 0.
    Equal,
}

impl Unary {
    /// Every function, in the order of the enum.
    pub const ALL: [Unary; 16] = [
        Unary::Negate,
        Unary::Abs,
        Unary::Sign,
        Unary::Exp,
        Unary::Log,
        Unary::Sqrt,
        Unary::Reciprocal,
        Unary::Tanh,
        Unary::Sigmoid,
        Unary::Softplus,
        Unary::Erf,
        Unary::Sin,
        Unary::Cos,
        Unary::Floor,
        Unary::Relu,
        Unary::NonFinite,
    ];

    /// Its name in listings.
    pub fn name(self) -> &'static str {
        match self {
            Unary::Negate => "negate",
            Unary::Abs => "abs",
            Unary::Sign => "sign",
            Unary::Exp => "exp",
            Unary::Log => "log",
            Unary::Sqrt => "sqrt",
            Unary::Reciprocal => "reciprocal",
            Unary::Tanh => "tanh",
            Unary::Sigmoid => "sigmoid",
            Unary::Softplus => "softplus",
            Unary::Erf => "erf",
            Unary::Sin => "sin",
            Unary::Cos => "cos",
            Unary::Floor => "floor",
            Unary::Relu => "relu",
            Unary::NonFinite => "non_finite",
        }
    }

    /// Its definition.
    pub fn value(self, x: f64) -> f64 {
        match self {
            Unary::Negate => -x,
            Unary::Abs => x.abs(),
            Unary::Sign => {
                if x > 0.0 {
                    1.0
                } else if x < 0.0 {
                    -1.0
                } else {
                    x
                }
            }
            Unary::Exp => x.exp(),
            Unary::Log => x.ln(),
            Unary::Sqrt => x.sqrt(),
            Unary::Reciprocal => 1.0 / x,
            Unary::Tanh => x.tanh(),
            Unary::Sigmoid => {
                if x >= 0.0 {
                    1.0 / (1.0 + (-x).exp())
                } else {
                    x.exp() / (1.0 + x.exp())
                }
            }
            Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Unary::Erf => erf(x),
            Unary::Sin => x.sin(),
            Unary::Cos => x.cos(),
            Unary::Floor => x.floor(),
            Unary::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Unary::NonFinite => f64::from(u8::from(!x.is_finite())),
        }
    }

    /// The gradient of `x` when `y = f(x)` and the gradient of `y` is `grad`; `None` where it is zero everywhere.
    pub fn gradient(self, b: &mut Builder, x: Value, y: Value, grad: Value) -> Option<Value> {
        Some(match self {
            Unary::Negate => b.unary(Unary::Negate, grad),
            Unary::Abs => {
                let sign = b.unary(Unary::Sign, x);
                b.mul(grad, sign)
            }
            Unary::Exp => b.mul(grad, y),
            Unary::Log => b.div(grad, x),
            Unary::Sqrt => {
                let half = b.scale(grad, 0.5);
                b.div(half, y)
            }
            Unary::Reciprocal => {
                let square = b.mul(y, y);
                let product = b.mul(grad, square);
                b.unary(Unary::Negate, product)
            }
            Unary::Tanh => {
                let square = b.mul(y, y);
                let slope = b.one_minus(square);
                b.mul(grad, slope)
            }
            Unary::Sigmoid => {
                let rest = b.one_minus(y);
                let slope = b.mul(y, rest);
                b.mul(grad, slope)
            }
            Unary::Softplus => {
                let slope = b.unary(Unary::Sigmoid, x);
                b.mul(grad, slope)
            }
            Unary::Erf => {
                let square = b.mul(x, x);
                let exponent = b.unary(Unary::Negate, square);
                let bell = b.unary(Unary::Exp, exponent);
                let slope = b.scale(bell, std::f64::consts::FRAC_2_SQRT_PI);
                b.mul(grad, slope)
            }
            Unary::Sin => {
                let slope = b.unary(Unary::Cos, x);
                b.mul(grad, slope)
            }
            Unary::Cos => {
                let sine = b.unary(Unary::Sin, x);
                let product = b.mul(grad, sine);
                b.unary(Unary::Negate, product)
            }
            Unary::Relu => {
                // PyTorch's choice at 0 is 0. The result says as much as `x`, and is what others read as well.
                let zero = b.like(y, 0.0);
                let positive = b.binary(Binary::Less, zero, y);
                b.select(positive, grad, zero)
            }
            Unary::Sign | Unary::Floor | Unary::NonFinite => return None,
        })
    }
}

impl Binary {
    /// Every function, in the order of the enum.
    pub const ALL: [Binary; 9] = [
        Binary::Add,
        Binary::Subtract,
        Binary::Multiply,
        Binary::Divide,
        Binary::Max,
        Binary::Min,
        Binary::Less,
        Binary::LessEqual,
        Binary::Equal,
    ];

    /// Its name in listings.
    pub fn name(self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::Subtract => "subtract",
            Binary::Multiply => "multiply",
            Binary::Divide => "divide",
            Binary::Max => "max",
            Binary::Min => "min",
            Binary::Less => "less",
            Binary::LessEqual => "less_equal",
            Binary::Equal => "equal",
        }
    }

    /// Whether the result is 1.0 or 0.0 whatever the operands' type.
    pub fn is_comparison(self) -> bool {
        matches!(self, Binary::Less | Binary::LessEqual | Binary::Equal)
    }

    /// Whether the operands may be swapped.
    pub fn is_commutative(self) -> bool {
        matches!(self, Binary::Add | Binary::Multiply | Binary::Max | Binary::Min | Binary::Equal)
    }

    /// Its definition.
    pub fn value(self, a: f64, b: f64) -> f64 {
        match self {
            Binary::Add => a + b,
            Binary::Subtract => a - b,
            Binary::Multiply => a * b,
            Binary::Divide => a / b,
            Binary::Max => a.max(b),
            Binary::Min => a.min(b),
            Binary::Less => f64::from(u8::from(a < b)),
            Binary::LessEqual => f64::from(u8::from(a <= b)),
            Binary::Equal => f64::from(u8::from(a == b)),
        }
    }
}

/// The error function to a relative error of about 2e-15: a series near 0, the continued fraction of `erfc` beyond.
///
/// The series is `2/√π · e^(−x²) · Σ 2ⁿx²ⁿ⁺¹/(2n + 1)!!` (Abramowitz and Stegun, 7.1.6): no term is negative, so nothing
/// cancels, as it would in Taylor's near 3.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 3.0 {
        let (mut term, mut sum, mut odd) = (a, a, 1.0);
        while term > 1e-17 * sum {
            odd += 2.0;
            term *= 2.0 * a * a / odd;
            sum += term;
        }
        sum * (-a * a).exp() * std::f64::consts::FRAC_2_SQRT_PI
    } else if a < 6.0 {
        let fraction = (1..=60).rev().fold(a, |tail, k| a + f64::from(k) / 2.0 / tail);
        1.0 - (-a * a).exp() / (fraction * std::f64::consts::PI.sqrt())
    } else {
        1.0
    };
    if x.is_nan() { x } else { value.copysign(x) }
}

#[cfg(test)]
mod tests {
    use super::Unary;

    #[test]
    fn the_error_function_is_known_to_its_last_digits() {
        // From mpmath 1.3 with 40 digits.
        #[rustfmt::skip]
        let known = [
            (1e-300, 1.1283791670955126e-300), (1e-8, 1.1283791670955126e-8), (0.1, 0.1124629160182849),
            (0.5, 0.5204998778130465), (1.0, 0.8427007929497149), (1.5, 0.9661051464753107),
            (2.0, 0.9953222650189527), (2.5, 0.999593047982555), (2.9, 0.9999589021219005),
            (2.999, 0.9999777698314002), (3.0, 0.9999779095030014), (3.5, 0.9999992569016277),
            (4.0, 0.9999999845827421), (5.0, 0.9999999999984625), (5.9, 0.9999999999999999), (7.0, 1.0),
            (f64::INFINITY, 1.0),
        ];
        for (x, value) in known {
            for (x, value) in [(x, value), (-x, -value)] {
                let found = Unary::Erf.value(x);
                assert!(((found - value) / value).abs() <= 2.5e-15, "erf({x}) = {value:e}, found {found:e}");
            }
        }
        assert!(Unary::Erf.value(f64::NAN).is_nan() && Unary::Erf.value(0.0) == 0.0);
    }
}
