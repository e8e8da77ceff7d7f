//! Standardization, and its gradient in closed form.

use super::graph::Value;
use super::{Builder, Op, Unary};

/// `(x − mean)/√(variance + ε)` over some axes: what [`Builder::standardize`] has made, and what its gradient takes.
#[derive(Clone, Debug)]
pub struct Standardized {
    /// The result, of the shape of `x`.
    pub result: Value,
    /// The mean of `x`; the axes have size 1.
    pub mean: Value,
    /// The biased variance of `x`; the axes have size 1.
    pub variance: Value,
    /// What is standardized.
    pub(crate) x: Value,
    /// `1/√(variance + ε)`; the axes have size 1.
    scale: Value,
    axes: Vec<usize>,
    /// The first node made on the way to the result.
    first: Value,
}

impl Builder {
    /// Brings `x` to mean 0 and variance 1 over axes.
    ///
    /// The variance is the mean of squared deviations: the difference of mean square and squared mean loses all digits
    /// where the mean is large.
    pub fn standardize(&mut self, x: Value, axes: &[usize], epsilon: f64) -> Standardized {
        let shape = self.shape(x).to_vec();
        let first = Value(self.graph.nodes.len() as u32);
        let mean = self.mean(x, axes);
        let spread = self.broadcast(mean, &shape);
        let deviation = self.sub(x, spread);
        let square = self.mul(deviation, deviation);
        let variance = self.mean(square, axes);
        let scale = self.inverse_deviation(variance, epsilon);
        let spread = self.broadcast(scale, &shape);
        let result = self.mul(deviation, spread);
        let made = Standardized { result, mean, variance, x, scale, axes: axes.to_vec(), first };
        self.standardized.push(made.clone());
        made
    }

    /// `1/√(variance + epsilon)`
    pub fn inverse_deviation(&mut self, variance: Value, epsilon: f64) -> Value {
        let safe = self.offset(variance, epsilon);
        let deviation = self.unary(Unary::Sqrt, safe);
        self.unary(Unary::Reciprocal, deviation)
    }
}

impl Standardized {
    /// Whether a value is a step on the way from `x` to the result.
    pub fn contains(&self, value: Value) -> bool {
        (self.first..self.result).contains(&value)
    }

    /// The gradient of `x` when that of the result is `grad`: all of it, by way of the mean and the variance, too.
    ///
    /// It is `scale·(g − mean(g) − x̂·mean(g·x̂))`, where x̂ is the result (Ioffe and Szegedy, "Batch Normalization",
    /// 2015, section 3, after terms that cancel). Differentiating each step by itself comes to the same by twice as
    /// many sums and passes over memory. A factor of `g` that is the same along the axes, as the weight of
    /// `batch_norm` is, stands before the sums, so that they are those which make the gradients of weight and bias.
    pub fn gradient(&self, b: &mut Builder, grad: Value) -> Value {
        let shape = b.shape(self.x).to_vec();
        let (grad, scale) = match self.common_factor(b, grad) {
            Some((rest, factor)) => (rest, b.mul(factor, self.scale)),
            None => (grad, self.scale),
        };
        let mean = b.mean(grad, &self.axes);
        let product = b.mul(grad, self.result);
        let slope = b.mean(product, &self.axes);
        let [mean, slope, scale] = [mean, slope, scale].map(|value| b.broadcast(value, &shape));
        let along = b.mul(self.result, slope);
        let centred = b.sub(grad, mean);
        let rest = b.sub(centred, along);
        b.mul(rest, scale)
    }

    /// `grad` as a product with a factor that is the same along the axes; the factor's axes have size 1 there.
    fn common_factor(&self, b: &Builder, grad: Value) -> Option<(Value, Value)> {
        let node = b.graph.node(grad);
        if node.op != Op::Binary(super::Binary::Multiply) {
            return None;
        }
        let broadcast = b.graph.node(node.operands[1]);
        let narrow = *broadcast.operands.first().filter(|_| broadcast.op == Op::Broadcast)?;
        let fits = b.shape(narrow) == b.shape(self.scale);
        fits.then_some((node.operands[0], narrow))
    }
}
