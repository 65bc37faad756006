//! The times of the list as bars on a logarithmic axis: each step is ten times as long.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{BLACK, Color, IntoFont, IntoTextStyle, RGBColor, TextStyle, WHITE};

use super::report::{Report, number};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: i32 = 860;
/// Where the bars begin and may end.
const LEFT: i32 = 190;
const RIGHT: i32 = 760;
const TOP: i32 = 92;
/// Of an index: its two bars, and room.
const ROW: i32 = 46;
const BAR: i32 = 16;

const COLD: RGBColor = RGBColor(108, 140, 191);
const WARM: RGBColor = RGBColor(217, 119, 66);
const GREY: RGBColor = RGBColor(210, 210, 210);

/// The picture as SVG.
pub fn draw(report: &Report) -> anyhow::Result<String> {
    let reads: Vec<_> = report.of("list").collect();
    let axis = Axis::over(reads.iter().flat_map(|read| read.cold_ms.into_iter().chain([read.warm_ms])));
    let bottom = TOP + ROW * i32::try_from(reads.len())?;
    let mut svg = String::new();
    {
        let size = (WIDTH.unsigned_abs(), (bottom + 50).unsigned_abs());
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        let title = format!(
            "{} tasks of one project in one status, out of {}: milliseconds by index",
            report.rows,
            indicatif::HumanCount(report.tasks.into())
        );
        text(&area, &title, (20, 24), HPos::Left, 19.0)?;
        legend(&area, report.cold_refused.is_none())?;
        for power in axis.from..=axis.to {
            let x = axis.x(10_f64.powi(power));
            area.draw(&PathElement::new([(x, TOP - 6), (x, bottom)], GREY))?;
            text(&area, &power_of_ten(power), (x, bottom + 16), HPos::Center, 14.0)?;
        }
        for (row, read) in (0..).zip(&reads) {
            let y = TOP + ROW * row;
            text(&area, &read.index, (LEFT - 12, y + BAR), HPos::Right, 15.0)?;
            bar(&area, &axis, y, read.warm_ms, WARM)?;
            if let Some(ms) = read.cold_ms {
                bar(&area, &axis, y + BAR, ms, COLD)?;
            }
        }
        area.present()?;
    }
    Ok(svg)
}

/// From one power of ten to another.
struct Axis {
    from: i32,
    to: i32,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone) -> Self {
        let least = values.clone().fold(1.0, f64::min);
        let most = values.fold(1.0, f64::max);
        Self { from: whole(least.log10().floor()), to: whole(most.log10().ceil()).max(1) }
    }

    fn x(&self, ms: f64) -> i32 {
        let share = (ms.log10() - f64::from(self.from)) / f64::from(self.to - self.from);
        LEFT + whole(share.max(0.0) * f64::from(RIGHT - LEFT))
    }
}

fn legend(area: &Area, cold: bool) -> anyhow::Result<()> {
    let warm = ("warm: all pages in memory", WARM, 20);
    let cold = cold.then_some(("cold: none", COLD, 240));
    for (meaning, colour, x) in [warm].into_iter().chain(cold) {
        area.draw(&Rectangle::new([(x, 46), (x + 14, 60)], colour.filled()))?;
        text(area, meaning, (x + 20, 53), HPos::Left, 15.0)?;
    }
    Ok(())
}

fn bar(area: &Area, axis: &Axis, y: i32, ms: f64, colour: RGBColor) -> anyhow::Result<()> {
    let end = axis.x(ms).max(LEFT + 2);
    area.draw(&Rectangle::new([(LEFT, y + 1), (end, y + BAR - 1)], colour.filled()))?;
    text(area, &format!("{} ms", number(ms)), (end + 6, y + BAR / 2), HPos::Left, 14.0)
}

/// Centred on a height.
fn text(area: &Area, words: &str, at: (i32, i32), anchor: HPos, size: f64) -> anyhow::Result<()> {
    let style: TextStyle = ("sans-serif", size).into_font().color(&BLACK).into_text_style(area);
    area.draw_text(words, &style.pos(Pos::new(anchor, VPos::Center)), at)?;
    Ok(())
}

fn power_of_ten(power: i32) -> String {
    let decimals = usize::try_from(-power).unwrap_or_default();
    format!("{:.decimals$} ms", 10_f64.powi(power))
}

#[expect(clippy::cast_possible_truncation, reason = "a power of ten or a place in the picture")]
fn whole(number: f64) -> i32 {
    number as i32
}
