//! Edits that several kinds of advice propose.

use super::Context;
use crate::check::lints::edit::{add_argument, add_setting_after};
use crate::diagnostic::{Applicability, Diagnostic};
use crate::schema::{FromArg, Origin, Real};
use crate::source::Span;

impl Context<'_> {
    /// Whether a span is in a file; what was given on the command line is not.
    pub(super) fn is_in_file(&self, span: Span) -> bool {
        !self.sources.file(span.file).name.starts_with('-')
    }

    /// Offers so many times the learning rate that was used.
    pub(super) fn offer_rate(&self, diagnostic: Diagnostic, factor: f64) -> Diagnostic {
        let optimizer = &self.program.optimizer;
        let Some(used) = self.program.rate.or(self.record.epochs.first().map(|epoch| epoch.lr)) else {
            return diagnostic;
        };
        // Far above what is usual, a share of it is still far above.
        let rate = (used * factor).min(optimizer.item.usual_rates()[1]);
        let text = Real(format!("{rate:.1e}").parse().unwrap_or(rate)).show();
        let title = format!("{} the learning rate to {text}", if factor < 1.0 { "lower" } else { "raise" });
        let given = optimizer.values.iter().find(|value| value.name == "lr").map(|value| value.origin);
        let call = self.sources.text(optimizer.span);
        let edit = match given {
            Some(Origin::Given(span)) => Some((span, text.clone())),
            _ if call == optimizer.name => Some((optimizer.span, format!("{call}(lr = {text})"))),
            _ => add_argument(self.sources, optimizer.span, &format!("lr = {text}")),
        };
        match edit.filter(|(span, _)| self.is_in_file(*span)) {
            Some((span, edit)) => diagnostic.fix(Applicability::Suggested, title, span, edit),
            None => diagnostic.help(title),
        }
    }

    /// Offers one more setting of `train`, after one that is given there.
    pub(super) fn offer_train_setting(&self, diagnostic: Diagnostic, title: &str, text: &str) -> Diagnostic {
        let given = self.program.resolved.iter().filter(|setting| setting.section == "train");
        let mut value = given.filter_map(|setting| match setting.origin {
            Origin::Given(span) if self.is_in_file(span) => Some(span),
            _ => None,
        });
        match value.next_back() {
            Some(value) => {
                // The statement begins with its name: at the end of the space before it.
                let source = &self.sources.file(value.file).text;
                let line = source[..value.start as usize].rfind(['\n', ';', '{']).map_or(0, |at| at + 1);
                let indent = source[line..].len() - source[line..].trim_start().len();
                let statement = Span::new(value.file, line + indent, value.end as usize);
                let (span, edit) = add_setting_after(self.sources, statement, text);
                diagnostic.fix(Applicability::Suggested, title, span, edit)
            }
            None => diagnostic.help(format!("write `{text}` in `train`")),
        }
    }

    /// Offers one more setting beside the optimizer.
    pub(super) fn offer_setting(&self, diagnostic: Diagnostic, title: &str, text: &str) -> Diagnostic {
        let optimizer = self.program.optimizer.span;
        if !self.is_in_file(optimizer) {
            return diagnostic.help(format!("{title}: `{text}`"));
        }
        // The statement begins where its line does.
        let source = &self.sources.file(optimizer.file).text;
        let line = source[..optimizer.start as usize].rfind(['\n', ';']).map_or(0, |at| at + 1);
        let indent = source[line..].len() - source[line..].trim_start().len();
        let statement = Span::new(optimizer.file, line + indent, optimizer.end as usize);
        let (span, edit) = add_setting_after(self.sources, statement, text);
        diagnostic.fix(Applicability::Suggested, title, span, edit)
    }

    /// Whether a setting at the top level is as it is by default.
    pub(super) fn is_default(&self, name: &str) -> bool {
        let mut given = self.program.resolved.iter().filter(|setting| matches!(setting.origin, Origin::Given(_)));
        given.all(|setting| !setting.section.is_empty() || setting.name != name)
    }

    /// Where a setting of `train` is given, else the optimizer: the line that says most about how it is trained.
    pub(super) fn train_span(&self, name: &str) -> Span {
        let setting = self.program.resolved.iter().find(|setting| (setting.section, &*setting.name) == ("train", name));
        match setting.map(|setting| setting.origin) {
            Some(Origin::Given(span)) => span,
            _ => self.program.optimizer.span,
        }
    }
}
