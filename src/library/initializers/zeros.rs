//! Nothing.

use crate::ir::graph::Init;
use crate::item;
use crate::library::Initializer;

item! {
    /// Sets every weight to 0.
    ///
    /// A layer followed by others does not learn from such a beginning; a last layer does.
    ///
    /// ```nnopt
    /// zeros
    /// ```
    "zeros" => pub struct Zeros: Initializer {}
}

impl Initializer for Zeros {
    fn init(&self, _fan_in: usize, _fan_out: usize) -> Init {
        Init::Fill(0.0)
    }
}
