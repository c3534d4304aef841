use chainrule_kernels::cross_entropy::{
    CrossEntropyInputs, CrossEntropyOutputs, CrossEntropyParams, CrossEntropySaved, Reduction, cross_entropy_backward,
    cross_entropy_forward,
};
use chainrule_kernels::{Buffer, DType, Device, ErrorKind, Result};

use super::{DTYPES, assert_close, buffer, empty, noise, values};

struct Case<'a> {
    dtype: DType,
    logits: &'a [f64],
    labels: &'a [i64],
    weight: Option<&'a [f64]>,
    params: CrossEntropyParams,
}

impl Case<'_> {
    fn dy(&self) -> Vec<f64> {
        let per_row = self.params.reduction == Reduction::None as u64;
        noise(self.dtype, if per_row { self.labels.len() } else { 1 }, 9)
    }

    /// `loss, dlogits` from the kernels.
    fn run(&self) -> Result<(Vec<f64>, Vec<f64>)> {
        let (dtype, rows) = (self.dtype, self.labels.len());
        let (logits, dy) = (buffer(dtype, self.logits), buffer(dtype, &self.dy()));
        let labels = Buffer::from_slice(&Device::Cpu, self.labels)?;
        let weight = self.weight.map(|weight| buffer(dtype, weight));
        let inputs = CrossEntropyInputs {
            logits: (&logits, 0),
            labels: (&labels, 0),
            weight: weight.as_ref().map(|weight| (weight, 0)),
        };
        let (mut loss, mut dlogits) = (empty(dtype, dy.len()), empty(dtype, logits.len()));
        let [mut max, mut log_sum, mut total_weight] = [rows, rows, 1].map(|len| empty(dtype.compute(), len));
        let outputs = CrossEntropyOutputs {
            loss: &mut loss,
            max: &mut max,
            log_sum: &mut log_sum,
            total_weight: &mut total_weight,
        };
        cross_entropy_forward(inputs, outputs, self.params)?;
        let saved = CrossEntropySaved {
            dy: (&dy, 0),
            max: (&max, 0),
            log_sum: (&log_sum, 0),
            total_weight: (&total_weight, 0),
        };
        cross_entropy_backward(saved, inputs, &mut dlogits, self.params)?;
        Ok((values(&loss), values(&dlogits)))
    }

    /// The same from the definition, in f64.
    fn naive(&self) -> (Vec<f64>, Vec<f64>) {
        let classes = self.params.classes as usize;
        let ones = vec![1.0; classes];
        let weight = self.weight.unwrap_or(&ones);
        let smoothing = self.params.label_smoothing;
        let counted = |label: &&i64| **label != self.params.ignore_index;
        let total: f64 = self.labels.iter().filter(counted).map(|&label| weight[label as usize]).sum();
        let (mut losses, mut dlogits) = (vec![], vec![]);
        let (dy, mean) = (self.dy(), self.params.reduction == Reduction::Mean as u64);
        for (row, (x, &label)) in self.logits.chunks(classes).zip(self.labels).enumerate() {
            if label == self.params.ignore_index {
                losses.push(0.0);
                dlogits.extend(vec![0.0; classes]);
                continue;
            }
            let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_sum = x.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
            let q: Vec<f64> = (0..classes)
                .map(|c| weight[c] * (smoothing / classes as f64 + f64::from(c == label as usize) * (1.0 - smoothing)))
                .collect();
            losses.push(x.iter().zip(&q).map(|(x, q)| if *q == 0.0 { 0.0 } else { -q * (x - max - log_sum) }).sum());
            let scale = dy[row % dy.len()] / if mean { total } else { 1.0 };
            let q_sum: f64 = q.iter().sum();
            dlogits.extend(x.iter().zip(&q).map(|(x, q)| scale * ((x - max - log_sum).exp() * q_sum - q)));
        }
        let sum: f64 = losses.iter().sum();
        match self.params.reduction {
            0 => (losses, dlogits),
            1 => (vec![sum / total], dlogits),
            _ => (vec![sum], dlogits),
        }
    }

    #[track_caller]
    fn check(&self) {
        let ((loss, dlogits), (want_loss, want_dlogits)) = (self.run().unwrap(), self.naive());
        assert_close(self.dtype, &loss, &want_loss, 32.0, "loss");
        assert_close(self.dtype, &dlogits, &want_dlogits, 16.0, "dlogits");
    }
}

#[test]
fn matches_the_definition() {
    for (dtype, classes) in DTYPES.into_iter().flat_map(|dtype| [1, 31, 33, 1000, 4099].map(|classes| (dtype, classes)))
    {
        let rows = if classes == 33 { 300 } else { 5 };
        let logits = noise(dtype, rows * classes, 1);
        let weight: Vec<f64> = noise(dtype, classes, 2).iter().map(|x| x.abs()).collect();
        let ignored = (classes / 2) as i64;
        let labels: Vec<i64> =
            (0..rows).map(|row| if row % 4 == 3 { ignored } else { (row % classes) as i64 }).collect();
        for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
            for (weight, label_smoothing) in [(None, 0.0), (None, 0.1), (Some(&weight[..]), 0.0), (Some(&weight), 0.3)]
            {
                let mut params = CrossEntropyParams::new(rows, classes, reduction);
                params.label_smoothing = label_smoothing;
                // Both an ignore index that is also a class and one that is not.
                params.ignore_index = if classes > 1 { ignored } else { -100 };
                Case { dtype, logits: &logits, labels: &labels, weight, params }.check();
            }
        }
    }
}

#[test]
fn extreme_logits_keep_their_digits() {
    let params = CrossEntropyParams::new(3, 1000, Reduction::None);
    for (scale, offset) in [(1.0, 1e4), (1e4, 0.0), (30.0, -3e3)] {
        let logits: Vec<f64> =
            noise(DType::F32, 3000, 1).iter().map(|x| f64::from((x * scale + offset) as f32)).collect();
        Case { dtype: DType::F32, logits: &logits, labels: &[0, 500, 999], weight: None, params }.check();
    }
}

#[test]
fn masked_classes_have_no_gradient() {
    let inf = f64::INFINITY;
    let params = CrossEntropyParams::new(2, 3, Reduction::Sum);
    let case =
        Case { dtype: DType::F64, logits: &[0.0, -inf, 0.0, 1.0, 1.0, -inf], labels: &[0, 1], weight: None, params };
    let (loss, dlogits) = case.run().unwrap();
    assert_close(DType::F64, &loss, &[2.0 * 2f64.ln()], 4.0, "loss");
    let dy = case.dy()[0];
    let want = [-0.5, 0.0, 0.5, 0.5, -0.5, 0.0].map(|d| d * dy);
    assert_close(DType::F64, &dlogits, &want, 4.0, "dlogits");
}

#[test]
fn all_rows_ignored() {
    for (reduction, want) in [(Reduction::None, 0.0), (Reduction::Mean, f64::NAN), (Reduction::Sum, 0.0)] {
        let params = CrossEntropyParams::new(1, 2, reduction);
        let case = Case { dtype: DType::F32, logits: &[f64::NAN, 1.0], labels: &[-100], weight: None, params };
        let (loss, dlogits) = case.run().unwrap();
        assert_close(DType::F32, &loss, &[want], 0.0, "loss");
        assert_eq!(dlogits, [0.0, 0.0]);
    }
}

#[test]
fn a_label_out_of_range_is_named() {
    for label in [3, -1, i64::MAX] {
        let params = CrossEntropyParams::new(2, 3, Reduction::Mean);
        let case = Case { dtype: DType::F32, logits: &[0.0; 6], labels: &[0, label], weight: None, params };
        let error = case.run().unwrap_err();
        let want =
            format!("row 1 has label {label}, expected 0 <= label < 3, the number of classes, or ignore_index -100");
        assert_eq!(error.kind(), &ErrorKind::Index(want));
        assert_eq!(error.op(), Some("cross_entropy"));
    }
}

#[test]
fn labels_of_any_integer_dtype_and_no_rows() {
    let logits = buffer(DType::F32, &[0.0; 4]);
    let (mut loss, mut total_weight) = (empty(DType::F32, 1), empty(DType::F32, 1));
    let (mut max, mut log_sum) = (empty(DType::F32, 2), empty(DType::F32, 2));
    for labels in [
        Buffer::from_slice(&Device::Cpu, &[0u32, 1]).unwrap(),
        Buffer::from_slice(&Device::Cpu, &[0i32, 1]).unwrap(),
        Buffer::from_slice(&Device::Cpu, &[0u8, 1]).unwrap(),
    ] {
        let inputs = CrossEntropyInputs { logits: (&logits, 0), labels: (&labels, 0), weight: None };
        let outputs = CrossEntropyOutputs {
            loss: &mut loss,
            max: &mut max,
            log_sum: &mut log_sum,
            total_weight: &mut total_weight,
        };
        cross_entropy_forward(inputs, outputs, CrossEntropyParams::new(2, 2, Reduction::Mean)).unwrap();
        assert_close(DType::F32, &values(&loss), &[2f64.ln()], 1.0, "loss");
    }
    let params = CrossEntropyParams::new(0, 3, Reduction::Mean);
    Case { dtype: DType::F32, logits: &[], labels: &[], weight: None, params }.check();
}
