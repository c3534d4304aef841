//! The loss curve as a picture.

use std::error::Error as StdError;
use std::path::Path;

use chainrule::nn::train::MetricsCsv;
use chainrule::{Error, Result};
use plotters::prelude::*;

type Points = Vec<(f64, f64)>;

/// Draws the first two columns after the step of a metrics file, training and validation loss, as an SVG.
pub(crate) fn plot_losses(metrics: &Path, picture: &Path) -> Result<()> {
    let rows = MetricsCsv::read(metrics)?;
    let column = |i: usize| -> Points {
        rows.iter().filter_map(|(step, cells)| Some((*step as f64, cells.get(i).copied()??))).collect()
    };
    let mut svg = String::new();
    draw(&mut svg, &column(0), &column(1)).map_err(|error| Error::format(format!("drawing the loss: {error}")))?;
    std::fs::write(picture, svg).map_err(|error| Error::io(format!("writing {}", picture.display()), error))
}

fn draw(svg: &mut String, train: &Points, val: &Points) -> std::result::Result<(), Box<dyn StdError>> {
    let all = || train.iter().chain(val).filter(|point| point.1.is_finite());
    let steps = all().fold(1.0, |most: f64, point| most.max(point.0));
    let (low, high) = all().fold((f64::MAX, f64::MIN), |(low, high), point| (low.min(point.1), high.max(point.1)));
    let (low, high) = if low < high { (low, high) } else { (0.0, 1.0) };
    let area = SVGBackend::with_string(svg, (800, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..steps, low - 0.05 * (high - low)..high)?;
    chart.configure_mesh().x_desc("step").y_desc("loss (nats)").light_line_style(WHITE.mix(0.0)).draw()?;
    for (name, points, color, width) in [("training", train, BLUE.mix(0.5), 1), ("validation", val, RED.mix(1.0), 2)] {
        let line = LineSeries::new(points.iter().copied(), color.stroke_width(width));
        let series = chart.draw_series(line)?.label(name);
        series.legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
    area.present()?;
    Ok(())
}
