//! The kinds of nodes and tokens of the lossless tree.

/// What a node or a token of the tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum SyntaxKind {
    // Nodes.
    /// A whole file.
    File,
    /// `nnopt 1`
    Version,
    /// `allow(lint, …)`
    Allow,
    /// `let name = value`
    Let,
    /// `block name(params) { stages }`
    Block,
    /// `include "path"`
    Include,
    /// `profile name { settings }`
    Profile,
    /// `name { … }` at the top level.
    Section,
    /// `name = value`
    Setting,
    /// `{ settings }`
    SettingBody,
    /// `{ stages }`
    StageBody,
    /// `{ { stages } … }`, the arms of a branch.
    BranchBody,
    /// `stage -> stage`
    Chain,
    /// `name = chain`
    LabelStage,
    /// `repeat n { stages }`
    Repeat,
    /// `residual { stages } shortcut { stages }`
    Residual,
    /// `shortcut { stages }`
    Shortcut,
    /// `branch { arms } join name`
    Branch,
    /// `join name`
    Join,
    /// `name` or `name(args)`
    Call,
    /// `(args)`
    Args,
    /// `value` or `name = value`
    Arg,
    /// Operands and operators, still without precedence.
    Expr,
    /// `[values]`
    List,
    /// `(value)`
    Group,
    /// Something readable where it must not stand; what is inside is still used.
    Misplaced,
    /// Text that could not be read.
    Bad,

    // Tokens.
    /// Blanks and line ends.
    Whitespace,
    /// `# …`
    Comment,
    /// A word with a meaning of its own: `let`, `block`, `repeat` …
    Keyword,
    /// A name, perhaps dotted.
    Path,
    /// A number with its unit.
    Number,
    /// A string in double quotes.
    String,
    /// A string without its closing quote.
    OpenString,
    /// A string in the wrong quotes.
    WrongString,
    /// `+`, `-`, `*`, `/`, `..`
    Operator,
    /// `-` before an operand.
    Minus,
    /// `(`
    OpenParen,
    /// `)`
    CloseParen,
    /// `[`
    OpenBracket,
    /// `]`
    CloseBracket,
    /// `{`
    OpenBrace,
    /// `}`
    CloseBrace,
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// `=`, or what was written for it.
    Equals,
    /// `->`, or what was written for it.
    Arrow,
    /// Text that could not be read.
    Error,
}

const KINDS: [SyntaxKind; SyntaxKind::Error as usize + 1] = {
    use SyntaxKind::*;
    [
        File,
        Version,
        Allow,
        Let,
        Block,
        Include,
        Profile,
        Section,
        Setting,
        SettingBody,
        StageBody,
        BranchBody,
        Chain,
        LabelStage,
        Repeat,
        Residual,
        Shortcut,
        Branch,
        Join,
        Call,
        Args,
        Arg,
        Expr,
        List,
        Group,
        Misplaced,
        Bad,
        Whitespace,
        Comment,
        Keyword,
        Path,
        Number,
        String,
        OpenString,
        WrongString,
        Operator,
        Minus,
        OpenParen,
        CloseParen,
        OpenBracket,
        CloseBracket,
        OpenBrace,
        CloseBrace,
        Comma,
        Semicolon,
        Equals,
        Arrow,
        Error,
    ]
};

impl SyntaxKind {
    /// Whether tokens of this kind mean nothing to the compiler.
    pub fn is_trivia(self) -> bool {
        matches!(self, SyntaxKind::Whitespace | SyntaxKind::Comment)
    }
}

impl From<SyntaxKind> for rowan::SyntaxKind {
    fn from(kind: SyntaxKind) -> rowan::SyntaxKind {
        rowan::SyntaxKind(kind as u16)
    }
}

/// Ties [`SyntaxKind`] to `rowan`'s trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Nnopt {}

impl rowan::Language for Nnopt {
    type Kind = SyntaxKind;

    fn kind_from_raw(raw: rowan::SyntaxKind) -> SyntaxKind {
        KINDS.get(usize::from(raw.0)).copied().unwrap_or(SyntaxKind::Error)
    }

    fn kind_to_raw(kind: SyntaxKind) -> rowan::SyntaxKind {
        kind.into()
    }
}

/// A node of the lossless tree.
pub type SyntaxNode = rowan::SyntaxNode<Nnopt>;
/// A token of the lossless tree.
pub type SyntaxToken = rowan::SyntaxToken<Nnopt>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_kinds_is_in_order() {
        for (idx, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, idx, "{kind:?}");
        }
    }
}
