//! The parameters of the call around the cursor.

use gen_lsp_types as lsp;
use rowan::{NodeOrToken, TextSize};

use super::context::{entry_of_call, is_named, name_text};
use super::document::Document;
use super::hover::describe_param;
use super::names::{Names, params};
use crate::library::reference::Entry;
use crate::syntax::{SyntaxKind as K, SyntaxNode};

/// The signature of the innermost call whose parentheses are around an offset.
pub fn help(document: &Document, offset: usize) -> Option<lsp::SignatureHelp> {
    let root = document.root();
    // What stands before the cursor is inside the parentheses, even if nothing closes them.
    let before = root.token_at_offset(TextSize::new(offset as u32)).left_biased()?;
    let args = before.parent_ancestors().find(|node| {
        let opens = node.kind() == K::Args && usize::from(node.text_range().start()) < offset;
        let closed = node.last_token().is_some_and(|last| last.kind() == K::CloseParen);
        opens && (!closed || offset < usize::from(node.text_range().end()))
    })?;
    let call = args.parent()?;
    let signature = match entry_of_call(&call) {
        Some(entry) => of_entry(entry),
        None => of_block(document, &name_text(&call))?,
    };
    let active = active_parameter(&args, offset, signature.parameters.as_deref().unwrap_or(&[]));
    Some(lsp::SignatureHelp {
        signatures: vec![signature],
        active_signature: Some(0),
        active_parameter: active.map(|index| lsp::ActiveParameter::Int(index as u32)),
    })
}

fn of_entry(entry: &Entry) -> lsp::SignatureInformation {
    let parameters = entry.params.iter().map(|param| {
        let written = match param.default {
            Some(default) => format!("{} = {}", param.name, default()),
            None => param.name.to_owned(),
        };
        lsp::ParameterInformation {
            label: lsp::ParameterInformationLabel::String(written),
            documentation: Some(markdown(describe_param(param))),
        }
    });
    lsp::SignatureInformation {
        label: entry.signature(),
        documentation: Some(markdown(entry.summary().to_owned())),
        parameters: Some(parameters.collect()),
        active_parameter: None,
    }
}

fn of_block(document: &Document, name: &str) -> Option<lsp::SignatureInformation> {
    let block = Names::new(document).block(name)?;
    let names: Vec<String> = params(&block).map(|token| token.text().to_owned()).collect();
    let parameter = |name: &String| lsp::ParameterInformation {
        label: lsp::ParameterInformationLabel::String(name.clone()),
        documentation: None,
    };
    Some(lsp::SignatureInformation {
        label: format!("{name}({})", names.join(", ")),
        documentation: None,
        parameters: Some(names.iter().map(parameter).collect()),
        active_parameter: None,
    })
}

/// Which parameter the argument at an offset is for.
fn active_parameter(args: &SyntaxNode, offset: usize, parameters: &[lsp::ParameterInformation]) -> Option<usize> {
    let mut position = 0;
    let mut current: Option<SyntaxNode> = None;
    for child in args.children_with_tokens() {
        if usize::from(child.text_range().start()) >= offset {
            break;
        }
        match child {
            NodeOrToken::Node(arg) => current = Some(arg),
            NodeOrToken::Token(token) if token.kind() == K::Comma => {
                position += usize::from(current.take().is_some_and(|arg| !is_named(&arg)));
            }
            NodeOrToken::Token(_) => {}
        }
    }
    match current.filter(is_named) {
        Some(arg) => {
            let name = name_text(&arg);
            let names = |parameter: &lsp::ParameterInformation| match &parameter.label {
                lsp::ParameterInformationLabel::String(text) => text.split(' ').next() == Some(&name),
                lsp::ParameterInformationLabel::Tuple(_) => false,
            };
            parameters.iter().position(names)
        }
        None => (position < parameters.len()).then_some(position),
    }
}

fn markdown(value: String) -> lsp::Documentation {
    lsp::Documentation::MarkupContent(lsp::MarkupContent { kind: lsp::MarkupKind::Markdown, value })
}
