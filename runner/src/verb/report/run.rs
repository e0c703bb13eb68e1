//! `report`: kept results as one page.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::Report;
use super::page;
use crate::exit::Failure;
use crate::record;
use crate::report::html::{self, Piece};
use crate::terminal::args::Global;
use crate::terminal::output as terminal;
use crate::terminal::output::note;
use crate::verb::files::{make_folder, write};
use crate::verb::outputs::{Outputs, is_standard_output};

pub(crate) fn run(global: &Global, arguments: &Report) -> Result<ExitCode, Failure> {
    let output = arguments.output.as_path();
    let outputs = Outputs::forced(arguments.force).with("--output", Some(output));
    outputs.apart_from(&[], &arguments.results)?;
    let page = of_files(&arguments.results)?;
    let plots = plots(&page);
    let files: Vec<(PathBuf, &str)> = arguments
        .export_svg
        .iter()
        .flat_map(|folder| plots.iter().map(move |(name, svg)| (folder.join(format!("{name}.svg")), *svg)))
        .collect();
    if let Some(folder) = &arguments.export_svg {
        make_folder(folder)?;
    }
    let mut checked = Outputs::forced(arguments.force).with("--output", Some(output));
    for (path, _) in &files {
        checked = checked.with("--export-svg", Some(path));
    }
    checked.apart_from(&[], &arguments.results)?;
    for (path, svg) in &files {
        write(path, svg.as_bytes())?;
    }
    let html = html::render(&page);
    if is_standard_output(output) {
        terminal::print(&html)?;
    } else {
        write(output, html.as_bytes())?;
        note(global.quiet, format!("{}: open it in any browser", output.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// The page of the results in these files.
pub(crate) fn of_files(paths: &[PathBuf]) -> Result<html::Page, Failure> {
    let mut records = Vec::new();
    for path in paths {
        records.extend(record::read_all(path)?);
    }
    page::page(&records)
}

/// Writes the page of the results in these files.
pub(crate) fn keep(paths: &[PathBuf], output: &Path) -> Result<(), Failure> {
    write(output, html::render(&of_files(paths)?).as_bytes())
}

/// Every plot of a page with its name.
fn plots(page: &html::Page) -> Vec<(&str, &str)> {
    let pieces = page.sections.iter().flat_map(|section| &section.pieces);
    fn plot(piece: &Piece) -> Option<(&str, &str)> {
        match piece {
            Piece::Figure(figure) => Some((figure.name.as_str(), figure.svg.as_str())),
            _ => None,
        }
    }
    pieces.filter_map(plot).collect()
}
