//! Many images through a model in pieces of its batch size.

use super::opened::{Model, ModelError};
use super::tensor::{Data, Tensor};

/// How many images go through a model at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Batch size, at least 1.
    pub size: usize,
    /// Whether the model takes exactly that many: a smaller piece is then filled up.
    pub fixed: bool,
}

impl Batch {
    /// The model's own batch size where it is fixed, `wanted` otherwise.
    pub fn of(fixed: Option<usize>, wanted: usize) -> Self {
        Batch { size: fixed.unwrap_or(wanted).max(1), fixed: fixed.is_some() }
    }
}

/// Runs `input`, `[N, ...]`, in pieces along its first dimension and joins the outputs along theirs, so that every
/// output is `[N, ...]`. A fixed batch is filled by repeating the last image; what comes of the filling is dropped.
///
/// # Errors
/// [`ModelError`] of the first piece that fails, or where a piece's outputs cannot be joined.
pub fn run(model: &mut dyn Model, input: &Tensor, batch: Batch) -> Result<Vec<Tensor>, ModelError> {
    let rows = input.shape.first().copied().unwrap_or(0);
    if rows == 0 {
        return Err(ModelError::BadInput(format!("input {} holds no image", input.name)));
    }
    if rows == batch.size || (rows < batch.size && !batch.fixed) {
        return model.run(std::slice::from_ref(input));
    }
    let mut joined = None;
    for start in (0..rows).step_by(batch.size) {
        let kept = batch.size.min(rows - start);
        let filled = if batch.fixed { batch.size } else { kept };
        let piece = select(input, (0..filled).map(|row| (start + row).min(rows - 1)));
        let mut outputs = one_row_a_image(model.run(&[piece])?, filled)?;
        if kept < filled {
            outputs = outputs.iter().map(|output| select(output, 0..kept)).collect();
        }
        joined = Some(join(joined, outputs)?);
    }
    Ok(joined.unwrap_or_default())
}

/// The outputs of a run of `rows` images, if they can be divided among the images.
///
/// # Errors
/// [`ModelError::Failed`] where an output has another first dimension, or none.
pub(crate) fn one_row_a_image(outputs: Vec<Tensor>, rows: usize) -> Result<Vec<Tensor>, ModelError> {
    match outputs.iter().find(|output| output.shape.first() != Some(&rows)) {
        Some(Tensor { name, shape, .. }) => Err(ModelError::Failed(format!(
            "output {name} of shape {shape:?} is not one row for each of {rows} images: batches of this model cannot be \
             divided"
        ))),
        None => Ok(outputs),
    }
}

/// Adds the outputs of a piece to those of the pieces before it; all of them one row an image.
///
/// # Errors
/// [`ModelError::Failed`] where number, names, types or the other dimensions differ.
pub(crate) fn join(before: Option<Vec<Tensor>>, outputs: Vec<Tensor>) -> Result<Vec<Tensor>, ModelError> {
    let Some(mut joined) = before else { return Ok(outputs) };
    if outputs.len() != joined.len() {
        return Err(ModelError::Failed(format!("{} outputs after {}", outputs.len(), joined.len())));
    }
    for (before, output) in joined.iter_mut().zip(outputs) {
        append(before, output)?;
    }
    Ok(joined)
}

/// The given rows of a tensor, each an index of its first dimension.
pub fn select(tensor: &Tensor, rows: impl Iterator<Item = usize>) -> Tensor {
    let size: usize = tensor.shape.iter().skip(1).product();
    let rows: Vec<usize> = rows.collect();
    fn pick<T: Copy>(values: &[T], rows: &[usize], size: usize) -> Vec<T> {
        let mut picked = Vec::with_capacity(rows.len() * size);
        for &row in rows {
            picked.extend_from_slice(&values[row * size..(row + 1) * size]);
        }
        picked
    }
    let data = match &tensor.data {
        Data::F32(values) => Data::F32(pick(values, &rows, size)),
        Data::F16(values) => Data::F16(pick(values, &rows, size)),
        Data::F64(values) => Data::F64(pick(values, &rows, size)),
        Data::I64(values) => Data::I64(pick(values, &rows, size)),
        Data::U8(values) => Data::U8(pick(values, &rows, size)),
        Data::I8(values) => Data::I8(pick(values, &rows, size)),
        Data::I32(values) => Data::I32(pick(values, &rows, size)),
        Data::Bool(values) => Data::Bool(pick(values, &rows, size)),
    };
    let mut shape = tensor.shape.clone();
    if let Some(first) = shape.first_mut() {
        *first = rows.len();
    }
    Tensor { name: tensor.name.clone(), shape, data }
}

/// Adds the rows of `after`, which must be of the same kind.
///
/// # Errors
/// [`ModelError::Failed`] where names, types or the other dimensions differ.
fn append(before: &mut Tensor, after: Tensor) -> Result<(), ModelError> {
    let rows = after.shape.first().copied();
    let same =
        before.name == after.name && rows.is_some() && before.shape.iter().skip(1).eq(after.shape.iter().skip(1));
    match (&mut before.data, after.data) {
        (Data::F32(before), Data::F32(after)) if same => before.extend(after),
        (Data::F16(before), Data::F16(after)) if same => before.extend(after),
        (Data::F64(before), Data::F64(after)) if same => before.extend(after),
        (Data::I64(before), Data::I64(after)) if same => before.extend(after),
        (Data::U8(before), Data::U8(after)) if same => before.extend(after),
        (Data::I8(before), Data::I8(after)) if same => before.extend(after),
        (Data::I32(before), Data::I32(after)) if same => before.extend(after),
        (Data::Bool(before), Data::Bool(after)) if same => before.extend(after),
        _ => {
            let reason = format!("output {} changes its type or shape from one batch to the next", before.name);
            return Err(ModelError::Failed(reason));
        }
    }
    if let (Some(before), Some(rows)) = (before.shape.first_mut(), rows) {
        *before += rows;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fake::Fake;

    fn rows(n: usize) -> Tensor {
        Tensor { name: "x".into(), shape: vec![n, 2], data: Data::F32((0..2 * n).map(|i| i as f32).collect()) }
    }

    /// Gives back its input as `y` and remembers the batch sizes it saw.
    fn run_in(n: usize, batch: Batch) -> (Vec<Tensor>, Vec<usize>) {
        let mut seen = Vec::new();
        let outputs = {
            let mut fake = Fake::new(|inputs| {
                seen.push(inputs[0].shape[0]);
                Ok(vec![Tensor { name: "y".into(), ..inputs[0].clone() }])
            });
            run(&mut fake, &rows(n), batch).unwrap()
        };
        (outputs, seen)
    }

    #[test]
    fn pieces_are_joined_in_order_and_fillings_dropped() {
        for (n, batch, expected) in [
            (5, Batch { size: 2, fixed: false }, vec![2, 2, 1]),
            (5, Batch { size: 2, fixed: true }, vec![2, 2, 2]),
            (3, Batch { size: 8, fixed: false }, vec![3]),
            (3, Batch { size: 8, fixed: true }, vec![8]),
            (4, Batch { size: 4, fixed: true }, vec![4]),
        ] {
            let (outputs, seen) = run_in(n, batch);
            assert_eq!(outputs, [Tensor { name: "y".into(), ..rows(n) }], "{n} in {batch:?}");
            assert_eq!(seen, expected, "{n} in {batch:?}");
        }
    }

    #[test]
    fn an_output_that_is_not_one_row_a_image_cannot_be_joined() {
        let mut fake = Fake::new(|_| Ok(vec![rows(1)]));
        assert!(matches!(run(&mut fake, &rows(4), Batch { size: 2, fixed: false }), Err(ModelError::Failed(_))));
        let scalar = Tensor { name: "temperature".into(), shape: vec![], data: Data::F32(vec![1.0]) };
        let mut fake = Fake::new(|inputs| Ok(vec![inputs[0].clone(), scalar.clone()]));
        for batch in [Batch { size: 2, fixed: false }, Batch { size: 8, fixed: true }] {
            let error = run(&mut fake, &rows(4), batch).unwrap_err().to_string();
            assert!(error.contains("temperature of shape []"), "{error}");
        }
        assert!(join(Some(vec![scalar.clone()]), vec![scalar.clone()]).is_err(), "no panic either");
        let mut fake = Fake::new(|_| Ok(vec![]));
        let none = rows(0);
        assert!(matches!(run(&mut fake, &none, Batch { size: 2, fixed: false }), Err(ModelError::BadInput(_))));
    }
}
