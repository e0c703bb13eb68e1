//! Plots as SVG, which stand on their own and in a page alike.
//!
//! Colours are those of Okabe and Ito (2008), which people of every kind of colour vision tell apart. Text and axes are
//! black; in a page its style sheet gives them the colour of the text. Nothing depends on fonts, the time or the machine:
//! the same numbers give the same bytes.

pub mod scale;

use std::collections::BTreeSet;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::document::{Line, Table};
use scale::{PlotError, Scale};

/// Blue, vermilion, green, orange, purple, sky blue.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
];
/// Width of every plot, in pixels.
const WIDTH: u32 = 720;
/// Height of a row of a plot that has a row for each of several things.
const ROW: u32 = 44;
/// What lies beside the rows: room for axes and their names.
const AROUND: u32 = 64;
/// Room for the names of rows.
const NAMES: u32 = 190;
/// Characters of a name that fit there.
const NAME_LENGTH: usize = 28;
/// Size of text, in pixels.
const TEXT: u32 = 12;
/// Dots closer than this lie on one another.
const DOT: i32 = 2;

/// A plot with what it shows as a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Name of its file, without an ending.
    pub name: String,
    /// What it shows.
    pub title: Line,
    /// The plot.
    pub svg: String,
    /// The same numbers.
    pub table: Table,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'c> = ChartContext<'c, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Samples of one thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Strip {
    /// Its name.
    pub name: String,
    /// Every sample.
    pub samples: Vec<f64>,
    /// Where to draw a line: the median.
    pub middle: f64,
}

/// A number with its interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    /// What it is of.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Its interval, where it has one.
    pub interval: Option<[f64; 2]>,
}

/// Numbers along an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What they are of.
    pub name: String,
    /// Places and numbers.
    pub points: Vec<(f64, f64)>,
}

/// A dot for each sample, a row for each strip; dots that would lie on one another side by side in `lanes`.
///
/// # Errors
/// [`PlotError`] where a sample is not finite, or there is none.
pub fn strips(strips: &[Strip], unit: &str, lanes: usize) -> Result<String, PlotError> {
    let scale = Scale::of(strips.iter().flat_map(|strip| strip.samples.iter().copied().chain([strip.middle])))?;
    let names: Vec<&str> = strips.iter().map(|strip| strip.name.as_str()).collect();
    rows(&names, &scale, unit, |chart, at| {
        let strip = &strips[at];
        let colour = COLOURS[at % COLOURS.len()];
        let centre = middle(at, strips.len());
        // In the order measured, so that a slow spell shows as a lane.
        let mut drawn: BTreeSet<(i32, usize)> = BTreeSet::new();
        for (number, &sample) in strip.samples.iter().enumerate() {
            let x = scale.place(sample);
            let lane = number % lanes.max(1);
            let (pixel, _) = chart.backend_coord(&(x, centre));
            if drawn.insert((pixel / DOT, lane)) {
                let up = 0.7 * ((lane as f64 + 0.5) / lanes.max(1) as f64 - 0.5);
                chart.draw_series([Circle::new((x, centre + up), 2, colour.mix(0.75).filled())]).map_err(failed)?;
            }
        }
        let x = scale.place(strip.middle);
        let line = PathElement::new(vec![(x, centre - 0.45), (x, centre + 0.45)], BLACK.stroke_width(2));
        chart.draw_series([line]).map_err(failed).map(drop)
    })
}

/// A dot with its interval for each number, and a line at `reference`.
///
/// # Errors
/// [`PlotError`] where a number is not finite, or there is none.
pub fn intervals(numbers: &[Interval], unit: &str, reference: Option<f64>) -> Result<String, PlotError> {
    let ends = |number: &Interval| [Some(number.value), number.interval.map(|i| i[0]), number.interval.map(|i| i[1])];
    let scale = Scale::linear(numbers.iter().flat_map(ends).flatten().chain(reference))?;
    let names: Vec<&str> = numbers.iter().map(|number| number.name.as_str()).collect();
    rows(&names, &scale, unit, |chart, at| {
        let (number, centre) = (&numbers[at], middle(at, numbers.len()));
        let colour = COLOURS[at % COLOURS.len()];
        if let Some(x) = reference {
            let line = PathElement::new(vec![(x, centre - 0.5), (x, centre + 0.5)], BLACK.mix(0.4));
            chart.draw_series([line]).map_err(failed)?;
        }
        if let Some([low, high]) = number.interval {
            let line = PathElement::new(vec![(low, centre), (high, centre)], colour.stroke_width(3));
            chart.draw_series([line]).map_err(failed)?;
        }
        chart.draw_series([Circle::new((number.value, centre), 5, colour.filled())]).map_err(failed).map(drop)
    })
}

/// Numbers along an axis, joined by lines, a colour and a name for each series; with a line at
/// `limit`, of that name, within the axis.
///
/// # Errors
/// [`PlotError`] where a number is not finite, or there is none.
pub fn lines(series: &[Series], [x, y]: [&str; 2], limit: Option<(f64, &str)>) -> Result<String, PlotError> {
    let all = || series.iter().flat_map(|series| series.points.iter().copied());
    let across = Scale::linear(all().map(|point| point.0))?;
    let upwards = Scale::of(all().map(|point| point.1).chain(limit.map(|limit| limit.0)))?;
    let legend = TEXT * 2 * series.len() as u32;
    drawn(WIDTH, 280 + legend, |root| {
        let (plot, names) = root.split_vertically(280);
        let mut chart = ChartBuilder::on(&plot)
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(72)
            .build_cartesian_2d(across.range(), upwards.range())
            .map_err(failed)?;
        let (x_label, y_label) = (|value: &f64| across.label(*value), |value: &f64| upwards.label(*value));
        let mut mesh = chart.configure_mesh();
        mesh.max_light_lines(0).bold_line_style(BLACK.mix(0.15)).axis_style(BLACK).x_desc(x).y_desc(y);
        mesh.label_style(("sans-serif", TEXT)).axis_desc_style(("sans-serif", TEXT)).y_labels(6).x_labels(8);
        mesh.x_label_formatter(&x_label).y_label_formatter(&y_label);
        mesh.draw().map_err(failed)?;
        for (at, one) in series.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let places: Vec<(f64, f64)> = one.points.iter().map(|&(x, y)| (x, upwards.place(y))).collect();
            let dots = places.iter().map(|&place| Circle::new(place, 3, colour.filled()));
            chart.draw_series(dots).map_err(failed)?;
            chart.draw_series([PathElement::new(places, colour.stroke_width(2))]).map_err(failed)?;
            let height = (TEXT * 2 * at as u32 + TEXT) as i32;
            names.draw(&Circle::new((80, height), 4, colour.filled())).map_err(failed)?;
            names
                .draw(&Text::new(Line::from(one.name.as_str()).to_string(), (92, height - 6), font()))
                .map_err(failed)?;
        }
        if let Some((limit, name)) = limit.filter(|(_, name)| !name.is_empty()) {
            let y = upwards.place(limit);
            let ends = across.range();
            let line = PathElement::new(vec![(ends.start, y), (ends.end, y)], BLACK.stroke_width(1));
            chart.draw_series([line]).map_err(failed)?;
            let (left, top) = chart.backend_coord(&(ends.start, y));
            plot.draw(&Text::new(name.to_owned(), (left + 4, top + 3), font())).map_err(failed)?;
        }
        Ok(())
    })
}

/// Counts of a square matrix, a square the darker the larger its share of its row.
///
/// # Errors
/// [`PlotError`] where the matrix is empty.
pub fn matrix(names: &[String], counts: &[Vec<usize>]) -> Result<String, PlotError> {
    let classes = names.len() as u32;
    let side = (440 / classes.max(1)).clamp(12, 40);
    drawn(WIDTH, AROUND + side * classes + 90, |root| {
        for (row, counts) in counts.iter().enumerate() {
            let all = counts.iter().map(|&count| count as f64).sum::<f64>().max(1.0);
            let top = 24 + (row as u32 * side) as i32;
            let name = shortened(&names[row]);
            root.draw(&Text::new(name, (8, top + side as i32 / 2 - 6), font())).map_err(failed)?;
            for (column, &count) in counts.iter().enumerate() {
                let left = (NAMES + column as u32 * side) as i32;
                let square = [(left, top), (left + side as i32 - 1, top + side as i32 - 1)];
                let share = count as f64 / all;
                let colour = if row == column { COLOURS[0] } else { COLOURS[1] };
                // What is rare among many is still seen.
                let strength = if count == 0 { 0.04 } else { 0.15 + 0.85 * share };
                root.draw(&Rectangle::new(square, colour.mix(strength).filled())).map_err(failed)?;
            }
        }
        let bottom = 24 + (classes * side) as i32;
        for (column, name) in names.iter().enumerate() {
            let left = (NAMES + column as u32 * side + side / 2) as i32;
            let turned = font().transform(FontTransform::Rotate90);
            root.draw(&Text::new(shortened(name), (left + 6, bottom + 4), turned)).map_err(failed)?;
        }
        root.draw(&Text::new("taken for (columns), of each class (rows)", (NAMES as i32, 4), font())).map_err(failed)
    })
}

/// A plot with a row for each name, drawn by `draw` with the row's number.
fn rows(
    names: &[&str],
    scale: &Scale,
    unit: &str,
    draw: impl Fn(&mut Chart<'_, '_>, usize) -> Result<(), PlotError>,
) -> Result<String, PlotError> {
    drawn(WIDTH, AROUND + ROW * names.len() as u32, |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(NAMES)
            .build_cartesian_2d(scale.range(), 0.0..names.len() as f64)
            .map_err(failed)?;
        let label = |value: &f64| scale.label(*value);
        let mut mesh = chart.configure_mesh();
        mesh.disable_y_mesh().disable_y_axis().axis_style(BLACK).x_desc(unit).x_labels(7);
        mesh.max_light_lines(0).bold_line_style(BLACK.mix(0.15));
        mesh.label_style(("sans-serif", TEXT)).axis_desc_style(("sans-serif", TEXT));
        mesh.x_label_formatter(&label);
        mesh.draw().map_err(failed)?;
        for (at, name) in names.iter().enumerate() {
            let (_, height) = chart.backend_coord(&(scale.range().start, middle(at, names.len())));
            root.draw(&Text::new(shortened(name), (8, height - 6), font())).map_err(failed)?;
            draw(&mut chart, at)?;
        }
        Ok(())
    })
}

/// The middle of a row; the first is on top.
fn middle(at: usize, rows: usize) -> f64 {
    (rows - at) as f64 - 0.5
}

fn drawn(width: u32, height: u32, draw: impl FnOnce(&Area<'_>) -> Result<(), PlotError>) -> Result<String, PlotError> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        draw(&root)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

fn font() -> TextStyle<'static> {
    TextStyle::from(("sans-serif", TEXT).into_font()).color(&BLACK)
}

/// A name of somebody else's choice, as long as fits.
fn shortened(name: &str) -> String {
    let name = Line::from(name).to_string();
    if name.chars().count() <= NAME_LENGTH {
        return name;
    }
    // The end of a path tells more than its beginning.
    let skipped = name.chars().count() - (NAME_LENGTH - 1);
    format!("…{}", name.chars().skip(skipped).collect::<String>())
}

fn failed(error: impl std::fmt::Display) -> PlotError {
    PlotError(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(name: &str, samples: &[f64]) -> Strip {
        Strip { name: name.into(), samples: samples.to_vec(), middle: samples[0] }
    }

    #[test]
    fn every_sample_has_its_dot_and_the_same_samples_the_same_bytes() {
        let samples: Vec<f64> = (0..50).map(|at| 10.0 + f64::from(at)).collect();
        let draw = || strips(&[strip("cpu a.onnx", &samples)], "ms", 4).unwrap();
        assert_eq!(draw().matches("<circle").count(), 50);
        assert_eq!(draw(), draw());
        let same = strips(&[strip("a", &[1.0; 500])], "ms", 4).unwrap();
        assert_eq!(same.matches("<circle").count(), 4, "dots on one another are drawn once a lane");
    }

    #[test]
    fn names_of_others_are_no_markup() {
        let name = "</svg><script>x</script>\u{202e}&";
        let svg = strips(&[strip(name, &[1.0])], "ms", 1).unwrap();
        assert!(!svg.contains("<script") && svg.contains("&lt;") && !svg.contains('\u{202e}'), "{svg}");
        let series = Series { name: name.into(), points: vec![(1.0, 1.0)] };
        assert!(!lines(&[series], ["x", "y"], None).unwrap().contains("<script"));
        assert!(!matrix(&[name.into()], &[vec![1]]).unwrap().contains("<script"));
    }

    #[test]
    fn numbers_that_are_not_finite_are_an_error_and_equal_ones_are_not() {
        assert!(strips(&[strip("a", &[f64::NAN])], "ms", 1).is_err());
        assert!(strips(&[], "ms", 1).is_err());
        assert!(strips(&[strip("a", &[0.0, 0.0])], "ms", 1).is_ok());
        let one = Interval { name: "a".into(), value: 1.0, interval: None };
        assert!(intervals(&[one], "times as fast", Some(1.0)).is_ok());
        let series = |y| Series { name: "a".into(), points: vec![(1.0, y)] };
        assert!(lines(&[series(f64::INFINITY)], ["x", "y"], None).is_err());
        assert!(lines(&[series(1e-9)], ["x", "y"], Some((65504.0, "f16"))).is_ok());
    }

    #[test]
    fn numbers_of_any_size_end_in_a_plot_or_an_error() {
        for samples in [[-1e308, 1e308], [-1e-300, 1e-300], [1e-320, 1.0], [0.0, 1e200]] {
            assert!(strips(&[strip("a", &samples)], "ms", 1).is_err(), "{samples:?}");
        }
        let far = Strip { middle: 1e300, ..strip("a", &[1.0, 2.0]) };
        assert!(strips(&[far], "ms", 1).is_err());
        let close = [1.0, 1.0 + f64::EPSILON];
        for samples in [[-1e149, 1e149], [-1e-149, 1e-149], [1e-149, 1e149], [0.0, 1e-149], close, [1e149, 1.1e149]] {
            assert!(strips(&[strip("a", &samples)], "ms", 1).is_ok(), "{samples:?}");
            let points = samples.map(|sample| (sample, sample)).to_vec();
            assert!(lines(&[Series { name: "a".into(), points }], ["x", "y"], None).is_ok(), "{samples:?}");
            let numbers = samples.map(|value| Interval { name: "a".into(), value, interval: Some(samples) });
            assert!(intervals(&numbers, "times as fast", Some(1.0)).is_ok(), "{samples:?}");
        }
    }

    #[test]
    fn counts_whose_sum_is_no_integer_of_this_machine_are_shares_all_the_same() {
        let names = ["a".to_owned(), "b".to_owned()];
        assert!(matrix(&names, &[vec![usize::MAX, usize::MAX], vec![1 << 63, 1 << 63]]).unwrap().contains("0.575"));
    }
}
