// The grammar of `.nnopt` files for tree-sitter: colours and structure in editors. It reads every correct file, and
// takes more than `nnoptc` does: line ends mean nothing to it.
// Words of the language are in single quotes, names of fields in double ones; a test reads the former.

const PRECEDENCE = { range: 1, add: 2, multiply: 3, negate: 4 };

/** Elements between commas, the last one perhaps with a comma too. */
const commaSeparated = (rule) => seq(optional(seq(rule, repeat(seq(',', rule)), optional(','))));

module.exports = grammar({
  name: 'nnopt',

  word: ($) => $.identifier,

  extras: ($) => [/[\s\uFEFF\u00A0]/, $.comment],

  rules: {
    source_file: ($) => repeat(choice($._item, ';')),

    _item: ($) =>
      choice($.version, $.allow, $.let, $.block, $.include, $.profile, $.stage_section, $.setting_section, $.setting),

    version: ($) => seq('nnopt', $.number),
    allow: ($) => seq('allow', '(', commaSeparated(field("lint", $.identifier)), ')'),
    let: ($) => seq('let', field("name", $.identifier), '=', field("value", $._value)),
    block: ($) =>
      seq('block', field("name", $.identifier), optional(field("parameters", $.parameters)), field("body", $.stages)),
    parameters: ($) => seq('(', commaSeparated($.parameter), ')'),
    parameter: ($) => seq(field("name", $.identifier), optional(seq('=', field("default", $._value)))),
    include: ($) => seq('include', field("path", $.string)),
    profile: ($) => seq('profile', field("name", $.identifier), field("body", $.settings)),

    stage_section: ($) => seq(field("name", choice('model', 'augment')), field("body", $.stages)),
    setting_section: ($) => seq(field("name", choice('data', 'train')), field("body", $.settings)),

    settings: ($) => seq('{', repeat(choice($.allow, $.setting, ';')), '}'),
    setting: ($) => seq(field("name", $.identifier), '=', field("value", $._value)),

    stages: ($) => seq('{', repeat(choice($.allow, $.label, $._chain, ';')), '}'),
    label: ($) => seq(field("name", $.identifier), '=', $._chain),
    _chain: ($) => seq($._stage, repeat(seq('->', $._stage))),
    _stage: ($) => choice($.repeat, $.residual, $.branch, $.layer),
    layer: ($) => seq(field("name", $.identifier), optional(field("arguments", $.arguments))),
    repeat: ($) => seq('repeat', field("count", $._value), field("body", $.stages)),
    residual: ($) => prec.right(seq('residual', field("body", $.stages), optional($.shortcut))),
    shortcut: ($) => seq('shortcut', field("body", $.stages)),
    branch: ($) => seq('branch', $.arms, 'join', field("join", $.identifier)),
    arms: ($) => seq('{', repeat(choice($.stages, ';')), '}'),

    _value: ($) => choice($.number, $.string, $.call, $.name, $.list, $.group, $.negation, $.operation),
    name: ($) => $.identifier,
    call: ($) => seq(field("name", $.identifier), field("arguments", $.arguments)),
    arguments: ($) => seq('(', commaSeparated($.argument), ')'),
    argument: ($) => choice(seq(field("name", $.identifier), '=', field("value", $._value)), field("value", $._value)),
    list: ($) => seq('[', commaSeparated($._value), ']'),
    group: ($) => seq('(', $._value, ')'),
    negation: ($) => prec(PRECEDENCE.negate, seq('-', $._value)),
    operation: ($) =>
      choice(
        prec.left(PRECEDENCE.range, seq($._value, '..', $._value)),
        prec.left(PRECEDENCE.add, seq($._value, choice('+', '-'), $._value)),
        prec.left(PRECEDENCE.multiply, seq($._value, choice('*', '/'), $._value)),
      ),

    // A unit stands on the line of its number.
    number: (_) =>
      token(
        seq(
          choice(/\d[\d_]*(\.\d+)?/, /\.\d[\d_]*/),
          optional(/[eE][+-]?\d+/),
          optional(seq(/[ \t]*/, choice('%', 'epoch', 'epochs', 'step', 'steps', 'B', 'KiB', 'MiB', 'GiB', 's', 'min', 'h'))),
        ),
      ),
    string: (_) => token(seq('"', repeat(choice(/[^"\\\r\n]/, /\\[^\r\n]/)), '"')),
    identifier: (_) => /[\p{L}_][\p{L}\d_]*(\.[\p{L}_][\p{L}\d_]*)*/,
    comment: (_) => token(seq('#', /[^\n]*/)),
  },
});
