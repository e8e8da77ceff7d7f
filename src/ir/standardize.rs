//! Standardization, and its gradient in closed form.

use super::graph::{Value, count};
use super::{Binary, Builder, Op, Unary};

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
    /// How many elements of `x` each statistic is of.
    elements: usize,
    /// Where the statistics are of all devices that run the step together.
    together: Option<Together>,
    /// The first node made on the way to the result.
    first: Value,
}

/// What a [`Builder::standardize_together`] exchanges.
#[derive(Clone, Debug)]
struct Together {
    /// What the names of its states begin with.
    name: String,
    /// How many elements each statistic is of, on all devices; of the statistics' shape.
    elements: Value,
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
        let elements = axes.iter().map(|&axis| shape[axis]).product();
        let axes = axes.to_vec();
        let made = Standardized { result, mean, variance, x, scale, axes, elements, together: None, first };
        self.standardized.push(made.clone());
        made
    }

    /// As [`Builder::standardize`], with the mean and the variance of `x` on all devices that run the step together, each of
    /// which may have another number of elements. What they exchange goes through states whose names begin with `name`.
    pub fn standardize_together(&mut self, x: Value, axes: &[usize], epsilon: f64, name: &str) -> Standardized {
        let shape = self.shape(x).to_vec();
        let first = Value(self.graph.nodes.len() as u32);
        let elements: usize = axes.iter().map(|&axis| shape[axis]).product();
        let sum = self.sum(x, axes);
        let narrow = self.shape(sum).to_vec();
        let statistics = count(&narrow);
        let sum = self.reshape(sum, &[statistics]);
        let own = self.constant(elements as f64, &[1]);
        let both = self.concat(&[sum, own], 0);
        let both = self.exchange(&format!("{name}.sum"), both);
        let sum = self.slice(both, 0, 0, statistics);
        let sum = self.reshape(sum, &narrow);
        let all = self.slice(both, 0, statistics, 1);
        let all = self.reshape(all, &[]);
        let all = self.broadcast(all, &narrow);
        let mean = self.div(sum, all);
        let spread = self.broadcast(mean, &shape);
        let deviation = self.sub(x, spread);
        let square = self.mul(deviation, deviation);
        let squares = self.sum(square, axes);
        let squares = self.exchange(&format!("{name}.squares"), squares);
        let variance = self.div(squares, all);
        let scale = self.inverse_deviation(variance, epsilon);
        let spread = self.broadcast(scale, &shape);
        let result = self.mul(deviation, spread);
        let together = Some(Together { name: name.to_owned(), elements: all });
        let made = Standardized { result, mean, variance, x, scale, axes: axes.to_vec(), elements, together, first };
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
        let (rest, factor) = self.common_factor(b, grad).map_or((grad, None), |(rest, factor)| (rest, Some(factor)));
        let (grad, [mean, slope], scale) = match (&self.together, factor) {
            (Some(together), _) => (grad, self.means_together(b, together, rest, factor), self.scale),
            (None, Some(factor)) => {
                let scale = b.mul(factor, self.scale);
                (rest, self.means(b, rest), scale)
            }
            (None, None) => (grad, self.means(b, grad), self.scale),
        };
        let [mean, slope, scale] = [mean, slope, scale].map(|value| b.broadcast(value, &shape));
        let along = b.mul(self.result, slope);
        let centred = b.sub(grad, mean);
        let rest = b.sub(centred, along);
        b.mul(rest, scale)
    }

    /// mean(g) and mean(g·x̂).
    fn means(&self, b: &mut Builder, grad: Value) -> [Value; 2] {
        let mean = b.mean(grad, &self.axes);
        let product = b.mul(grad, self.result);
        [mean, b.mean(product, &self.axes)]
    }

    /// The same over all devices, of `g·factor`.
    ///
    /// They are of the gradient of the whole loss, of which that of a device is a share by its number of elements, while `grad`
    /// is the gradient of the device's own loss: `mean = Σ elements·sum / (own elements·all elements)`. The factor is part of
    /// what is exchanged, since it may not be seen as one where a device has a single element.
    fn means_together(
        &self,
        b: &mut Builder,
        Together { name, elements }: &Together,
        grad: Value,
        factor: Option<Value>,
    ) -> [Value; 2] {
        let narrow = b.shape(self.mean).to_vec();
        let statistics = count(&narrow);
        let product = b.mul(grad, self.result);
        let sums = [grad, product].map(|term| {
            let sum = b.sum(term, &self.axes);
            let sum = factor.map_or(sum, |factor| b.mul(sum, factor));
            b.reshape(sum, &[statistics])
        });
        let sums = b.concat(&sums, 0);
        let weighed = b.scale(sums, self.elements as f64);
        let all = b.exchange(&format!("{name}.gradient"), weighed);
        let divisor = b.scale(*elements, self.elements as f64);
        [0, statistics].map(|start| {
            let sum = b.slice(all, 0, start, statistics);
            let sum = b.reshape(sum, &narrow);
            b.div(sum, divisor)
        })
    }

    /// The variance, of any shape, as an estimate of that of what the elements are drawn from: with Bessel's correction.
    pub fn unbiased(&self, b: &mut Builder, variance: Value) -> Value {
        let Some(together) = &self.together else {
            return b.scale(variance, self.elements as f64 / (self.elements.max(2) - 1) as f64);
        };
        let shape = b.shape(variance).to_vec();
        let elements = b.reshape(together.elements, &shape);
        let less = b.offset(elements, -1.0);
        let one = b.like(less, 1.0);
        let less = b.binary(Binary::Max, less, one);
        let correction = b.div(elements, less);
        b.mul(variance, correction)
    }

    /// `grad` as a product with a factor that is the same along the axes; the factor's axes have size 1 there.
    fn common_factor(&self, b: &Builder, grad: Value) -> Option<(Value, Value)> {
        let node = b.graph.node(grad);
        if node.op != Op::Binary(Binary::Multiply) {
            return None;
        }
        let broadcast = b.graph.node(node.operands[1]);
        let narrow = *broadcast.operands.first().filter(|_| broadcast.op == Op::Broadcast)?;
        let fits = b.shape(narrow) == b.shape(self.scale);
        fits.then_some((node.operands[0], narrow))
    }
}
