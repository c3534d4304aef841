//! Labels out of range: apart from the other tests of rows, because the next read of a device gives the error.

use chainrule_kernels::cross_entropy::{CrossEntropyParams, Reduction};
use chainrule_kernels::{DType, Device, ErrorKind};

use super::device;
use super::rows::CrossEntropy;

#[test]
fn a_label_out_of_range_is_named() {
    for label in [3, -1, i64::MAX] {
        let params = CrossEntropyParams::new(2, 3, Reduction::Mean);
        let case = CrossEntropy { dtype: DType::F32, x: &[0.0; 6], labels: &[0, label], weighs: true, params };
        let [got, want] = [device(), Device::Cpu]
            .map(|device| case.run(&device, DType::I64).and_then(|_| device.synchronize()).unwrap_err());
        assert!(matches!(want.kind(), ErrorKind::Index(_)));
        assert_eq!((got.kind(), got.op()), (want.kind(), want.op()));
    }
}
