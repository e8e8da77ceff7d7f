; Colours of `.nnopt` files; written from the tables of the language, see tests/suite/editors.rs.

(identifier) @variable

(name (identifier) @constant.builtin
 (#any-of? @constant.builtin
  "all" "auto" "bilinear" "classes" "cpu" "equal" "f16_storage" "f32" "false" "first" "gpu" "kernel" "last"
  "measured" "mixed" "nearest" "none" "random" "regression" "same" "stratified" "true"))

(layer name: (identifier) @function)
(call name: (identifier) @function)
((identifier) @function.builtin
 (#any-of? @function.builtin
  "accuracy" "adagrad" "adam" "adamw" "avg_pool" "batch_norm" "binary_cross_entropy" "confusion" "constant"
  "conv2d" "cosine" "cross_entropy" "csv" "dropout" "elastic" "elu" "flatten" "gelu" "given" "global_avg_pool"
  "horizontal_flip" "idx" "image_folder" "kaiming_normal" "kaiming_uniform" "l1" "l2" "layer_norm" "leaky_relu"
  "linear" "mae" "max_pool" "mse" "normal" "npy" "npz" "patience" "random_affine" "random_crop" "random_rotation"
  "relu" "reshape" "rmsprop" "sgd" "shards" "sigmoid" "silu" "softmax" "split" "step" "tanh" "top_k" "uniform"
  "xavier_normal" "xavier_uniform" "zeros"))

(setting name: (identifier) @property)
(argument name: (identifier) @variable.parameter)
(parameter name: (identifier) @variable.parameter)
(let name: (identifier) @constant)
(label name: (identifier) @label)
(block name: (identifier) @function)
(profile name: (identifier) @type)
(branch join: (identifier) @keyword)

[
  "nnopt" "allow" "let" "block" "include" "profile" "repeat" "residual" "shortcut" "branch" "join"
] @keyword

[
  "augment" "data" "model" "train"
] @type

(comment) @comment
(string) @string
(number) @number

[ "->" "=" ".." "+" "-" "*" "/" ] @operator
[ "{" "}" "(" ")" "[" "]" ] @punctuation.bracket
[ "," ";" ] @punctuation.delimiter
