//! `peers tract|rten MODEL BATCH INPUT OUTPUT`: loads the model, runs it once on the f32 numbers of INPUT, writes the
//! logits to OUTPUT, then for every line on standard input runs it again and prints the seconds that took.

use std::error::Error;
use std::io::BufRead as _;
use std::path::Path;
use std::time::Instant;

use tract_onnx::prelude::*;

type Run = Box<dyn FnMut() -> Result<Vec<f32>, Box<dyn Error>>>;

fn tract(model: &Path, batch: usize, input: Vec<f32>) -> Result<Run, Box<dyn Error>> {
    let shape = [batch, 3, 224, 224];
    let model = tract_onnx::onnx()
        .model_for_path(model)?
        .with_input_fact(0, f32::fact(shape).into())?
        .into_optimized()?
        .into_runnable()?;
    let input = Tensor::from_shape(&shape, &input)?;
    Ok(Box::new(move || {
        let outputs = model.run(tvec!(input.clone().into_tvalue()))?;
        Ok(outputs[0].to_plain_array_view::<f32>()?.iter().copied().collect())
    }))
}

fn rten(model: &Path, batch: usize, input: Vec<f32>) -> Result<Run, Box<dyn Error>> {
    use rten_tensor::prelude::*;
    let model = rten::Model::load_file(model)?;
    let input = rten_tensor::NdTensor::from_data([batch, 3, 224, 224], input);
    Ok(Box::new(move || {
        let output: rten_tensor::NdTensor<f32, 2> = model.run_one(input.view().into(), None)?.try_into()?;
        Ok(output.to_vec())
    }))
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, runtime, model, batch, input, output] = &args[..] else { return Err("five arguments".into()) };
    let bytes = std::fs::read(input)?;
    let numbers = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let load = if runtime == "tract" { tract } else { rten };
    let mut run = load(Path::new(model), batch.parse()?, numbers)?;
    std::fs::write(output, run()?.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        line?;
        let start = Instant::now();
        run()?;
        println!("{}", start.elapsed().as_secs_f64());
    }
    Ok(())
}
