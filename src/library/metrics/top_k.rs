//! The share of samples that are nearly right.

use crate::ir::{Binary, Builder, Value};
use crate::item;
use crate::library::{Metric, ShapeError, TargetType, Type};
use crate::schema::Count;

item! {
    /// The share of samples whose right class is among the `k` most likely ones.
    ///
    /// Of classes with equal scores the first ones come first.
    ///
    /// ```nnopt
    /// top_k(5)
    /// ```
    "top_k" => pub struct TopK: Metric {
        /// How many classes count.
        k: Count = Count(5),
    }
}

impl Metric for TopK {
    fn name(&self) -> String {
        format!("top{}", self.k.0)
    }

    fn check(&self, output: &Type, targets: TargetType) -> Result<(), ShapeError> {
        super::check_classes("top_k", output, targets)?;
        match (targets, self.k.0) {
            (_, k) if output.shape == [1] && k > 1 => {
                Err(ShapeError::new("`top_k` is for several outputs, the model has one").help("use `accuracy`"))
            }
            (TargetType::Classes(classes), k) if k > classes => {
                Err(ShapeError::new(format!("`k` of `top_k` is {k}, the data has {classes} classes"))
                    .at("k")
                    .help(format!("choose a number below {classes}")))
            }
            _ => Ok(()),
        }
    }

    fn lower(&self, graph: &mut Builder, output: Value, targets: Value) -> Value {
        let shape = graph.shape(output).to_vec();
        let class = graph.iota(1, &shape);
        let target = graph.broadcast_axis(targets, 0, &shape);
        let right = graph.binary(Binary::Equal, class, target);
        let zero = graph.like(output, 0.0);
        let own = graph.select(right, output, zero);
        let score = graph.sum(own, &[1]);
        let score = graph.broadcast(score, &shape);
        // Counts the classes that are not better, the target among them: with NaN there is none, so it is a miss.
        let worse = graph.binary(Binary::Less, output, score);
        let equal = graph.binary(Binary::Equal, output, score);
        let after = graph.binary(Binary::LessEqual, target, class);
        let tied = graph.mul(equal, after);
        let not_better = graph.add(worse, tied);
        let behind = graph.sum(not_better, &[1]);
        let limit = graph.like(behind, shape[1] as f64 - self.k.0 as f64);
        let hit = graph.binary(Binary::Less, limit, behind);
        graph.sum_all(hit)
    }

    fn higher_is_better(&self) -> bool {
        true
    }
}
