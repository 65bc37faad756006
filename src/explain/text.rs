//! Plans for people: figures on the left, the tree on the right, then what to make of it.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::{Explained, Options, Report};
use crate::plan::Node;
use crate::plan::advice::Finding;
use crate::plan::number::{count, counted, figure};

/// How long a line may be.
const WIDTH: usize = 118;

const STRONG: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const FAULT: Style = AnsiColor::Red.on_default().bold();

/// Writes a statement: its head, its text where that is asked for, its plan, its findings.
pub(super) fn write_statement(out: &mut impl Write, statement: &Explained, options: &Options) -> io::Result<()> {
    let Explained { name, variant, keys, door, rows, ms, planning_ms, buffers, .. } = statement;
    let variant = variant.as_ref().map(|variant| format!(": {variant}")).unwrap_or_default();
    writeln!(
        out,
        "{STRONG}{name}{STRONG:#}{variant}  {}, {}, {}, {ms:.2} ms and {planning_ms:.2} ms to plan, on {door}",
        counted(&count(*keys), "key"),
        counted(&figure(*rows), "row"),
        counted(&count(buffers.shared()), "buffer"),
    )?;
    if options.brief && statement.findings.is_empty() {
        return Ok(());
    }
    if options.sql {
        let (comments, sql): (Vec<_>, Vec<_>) = statement.sql.lines().partition(|line| line.starts_with("--"));
        let lines = comments.into_iter().map(str::to_owned).chain(wrap(&sql.join(" "), WIDTH - 2));
        for line in lines {
            writeln!(out, "  {QUIET}{line}{QUIET:#}")?;
        }
        for (index, value) in statement.values.iter().enumerate() {
            let value = elide_arrays(value);
            writeln!(out, "  {QUIET}${} = {value}{QUIET:#}", index + 1)?;
        }
    }
    writeln!(out, "  {QUIET}{:>9} {:>9} {:>7} {:>8} {:>9}{QUIET:#}", "rows", "estimated", "loops", "buffers", "ms")?;
    write_node(out, &statement.plan.root, "", "")?;
    for finding in &statement.findings {
        write_finding(out, finding)?;
    }
    writeln!(out)
}

/// A node after `branch`, and those below it after `indent`.
fn write_node(out: &mut impl Write, node: &Node, branch: &str, indent: &str) -> io::Result<()> {
    let figures = if node.has_run() {
        format!(
            "{:>9} {:>9} {:>7} {:>8} {:>9.2}",
            figure(node.rows),
            figure(node.estimated_rows),
            figure(node.loops),
            count(node.buffers.shared()),
            node.ms * node.loops
        )
    } else {
        format!("{:>9} {:>9} {:>7} {:>8} {:>9}", "never run", figure(node.estimated_rows), "", "", "")
    };
    let subplan = node.subplan.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    writeln!(out, "  {figures}  {branch}{subplan}{}", node.label())?;
    let margin = 2 + FIGURES + 2;
    let trunk = if node.below.is_empty() { "  " } else { "│ " };
    for detail in details(node) {
        let room = WIDTH.saturating_sub(margin + indent.chars().count() + 4).max(40);
        for line in wrap(&detail, room) {
            writeln!(out, "{:margin$}{indent}{trunk}  {QUIET}{line}{QUIET:#}", "")?;
        }
    }
    let last = node.below.len().saturating_sub(1);
    for (index, below) in node.below.iter().enumerate() {
        let (branch, next) = if index == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        write_node(out, below, &format!("{indent}{branch}"), &format!("{indent}{next}"))?;
    }
    Ok(())
}

/// The width of a node's figures.
const FIGURES: usize = 9 + 1 + 9 + 1 + 7 + 1 + 8 + 1 + 9;

/// In PostgreSQL's words.
fn details(node: &Node) -> Vec<String> {
    let list = |items: &[String]| (!items.is_empty()).then(|| items.join(", "));
    let told = |value: f64| (value > 0.0).then(|| figure(value));
    let lines = [
        ("Index Cond", node.index_condition.clone()),
        ("Hash Cond", node.hash_condition.clone()),
        ("Merge Cond", node.merge_condition.clone()),
        ("Filter", node.filter.clone()),
        ("Join Filter", node.join_filter.clone()),
        ("Sort Key", list(&node.sort_key)),
        ("Group Key", list(&node.group_key)),
        ("Rows Removed by Filter", told(node.removed_by_filter)),
        ("Rows Removed by Join Filter", told(node.removed_by_join_filter)),
        ("Rows Removed by Index Recheck", told(node.removed_by_recheck)),
        ("Heap Fetches", told(node.heap_fetches)),
    ];
    lines.into_iter().filter_map(|(name, text)| Some(format!("{name}: {}", elide_arrays(&text?)))).collect()
}

/// Leaves all but the first values of long arrays out.
fn elide_arrays(text: &str) -> String {
    let mut elided = String::new();
    let mut rest = text;
    while let Some((before, array)) = rest.split_once("'{") {
        let (values, after) = array.split_once("}'").unwrap_or((array, ""));
        let first = values.split(',').next().unwrap_or_default();
        let others = values.matches(',').count();
        let shown =
            if values.len() > 40 && others > 0 { format!("{first}, and {others} more") } else { values.to_owned() };
        elided = format!("{elided}{before}'{{{shown}}}'");
        rest = after;
    }
    elided + rest
}

fn write_finding(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    let kind = serde_json::to_value(finding.kind).unwrap_or_default();
    let kind = kind.as_str().unwrap_or_default().replace('_', " ");
    let mut lines = wrap(&format!("{kind}: {}", finding.observation), WIDTH - 4).into_iter();
    let first = lines.next().unwrap_or_default();
    let (kind, rest) = first.split_at_checked(kind.len()).unwrap_or(("", &first));
    writeln!(out, "  {WARNING}! {kind}{WARNING:#}{rest}")?;
    for line in lines {
        writeln!(out, "    {line}")?;
    }
    for (index, line) in wrap(&finding.advice, WIDTH - 6).into_iter().enumerate() {
        let arrow = if index == 0 { "→" } else { " " };
        writeln!(out, "    {arrow} {line}")?;
    }
    Ok(())
}

/// Writes the errors of the document and the sums.
pub(super) fn write_summary(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for error in &report.errors {
        let code = error.extensions.as_ref().and_then(|extensions| extensions.get("code"));
        let code = match code {
            Some(async_graphql::Value::String(code)) => code.as_str(),
            _ => "error",
        };
        let place = error.locations.first().map(|at| format!(" (line {}, column {})", at.line, at.column));
        writeln!(out, "{FAULT}{code}{FAULT:#}: {}{}", error.message, place.unwrap_or_default())?;
    }
    let statements = &report.statements;
    let on_replica = statements.iter().filter(|statement| statement.target == "replica").count();
    let sum = |part: fn(&Explained) -> u64| statements.iter().map(part).sum::<u64>();
    let ms = statements.iter().fold(0.0, |sum, statement| sum + statement.ms);
    writeln!(
        out,
        "{STRONG}{}{STRONG:#} as {}: {} on the primary, {on_replica} on a replica; {}, {} of them \
         read; {ms:.2} ms; {STRONG}{}{STRONG:#}",
        counted(&count(statements.len()), "statement"),
        report.user,
        statements.len() - on_replica,
        counted(&count(sum(|statement| statement.buffers.shared())), "buffer"),
        count(sum(|statement| statement.buffers.read)),
        counted(&count(report.findings), "finding"),
    )
}

/// Breaks a text at its spaces.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
