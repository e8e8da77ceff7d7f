//! A fully connected layer.

use crate::ir::Value;
use crate::ir::graph::Init;
use crate::item;
use crate::library::initializers::InitializerArg;
use crate::library::regularizers::RegularizerArg;
use crate::library::{Layer, Meaning, ModelBuilder, Regularizer, Role, ShapeError, Type};
use crate::schema::Count;

item! {
    /// Multiplies the features by a learned matrix and adds a learned offset: `y = x·Wᵀ + b`.
    ///
    /// Weights are stored `[units, features]`. Both begin uniform in `±1/√features`, as in PyTorch.
    ///
    /// ```nnopt
    /// linear(10)
    /// ```
    "linear" aka "dense", "fc", "fully_connected" => pub struct Linear: Layer {
        /// Number of output features.
        units: Count,
        /// Whether to add a learned offset.
        bias: bool = true,
        /// How the matrix begins.
        init: InitializerArg = InitializerArg::default(),
        /// A penalty on the matrix, in addition to the program's.
        regularization: Option<RegularizerArg> = None,
    }
}

impl Layer for Linear {
    fn role(&self) -> Role {
        Role::Weights
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        match input.shape[..] {
            [_] => Ok(Type { shape: vec![self.units.0], meaning: Meaning::Features }),
            _ => Err(ShapeError::new(format!("`linear` takes [batch, features], found {}", input.show()))
                .help("put `flatten` before it")),
        }
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        let [batch, features] = model.graph.shape(input)[..] else { unreachable!("a checked `linear` has features") };
        let units = self.units.0;
        let init = self.init.init(features, units);
        let weight = model.weight("weight", &[units, features], init);
        let product = model.graph.matmul(input, weight, false, true);
        if !self.bias {
            return product;
        }
        let bound = 1.0 / (features as f64).sqrt();
        let bias = model.weight("bias", &[units], Init::Uniform { bound });
        let bias = model.graph.broadcast_axis(bias, 1, &[batch, units]);
        model.graph.add(product, bias)
    }

    fn regularization(&self) -> Option<&dyn Regularizer> {
        self.regularization.as_deref()
    }
}
