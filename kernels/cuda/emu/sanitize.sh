#!/bin/sh
# Runs the kernels on the emulator under a sanitizer: sanitize.sh address|undefined|thread [tests...]
#
# First the kernels that must fail (kernels/tests/cuda/faulty.cu): those that this sanitizer is for have to be reported.
# Then tests of the kernels, all of which must be clean: those whose names contain one of [tests...], or a choice that
# has something of each file. Ends with an error if one of either goes wrong. Needs g++ with its sanitizers.
set -u
kind=${1:?"usage: sanitize.sh address|undefined|thread [tests...]"}
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
launcher=env
case $kind in
address)
    preload=$(g++ -print-file-name=libasan.so)
    export ASAN_OPTIONS=detect_leaks=0:abort_on_error=0
    expected='outside_shared:use-after-poison.*|write_beyond:use-after-poison.*|write_before:use-after-poison.*' ;;
undefined)
    preload=
    export UBSAN_OPTIONS=print_stacktrace=1
    expected='misaligned:misaligned address' ;;
thread)
    preload=$(g++ -print-file-name=libtsan.so)
    # The host's own code is not compiled for this sanitizer, which does not see what orders its threads: reports of which
    # a stack leads into the tests' program are dropped. Those of kernels lead into their units only.
    printf 'race:std4sync\nrace:/deps/\n' >"$folder/suppressions"
    export TSAN_OPTIONS="suppressions=$folder/suppressions:exitcode=66:report_signal_unsafe=0"
    launcher="setarch -R"
    expected='missing_barrier:data race|race_of_blocks:data race' ;;
*) echo "no sanitizer $kind" >&2; exit 2 ;;
esac
export CHAINRULE_EMU_FLAGS="-fsanitize=$kind -fno-sanitize-recover=undefined" CHAINRULE_REQUIRE=cuda-emu RAYON_NUM_THREADS=1

cargo test -p chainrule-kernels --features cuda --lib --test cuda --no-run 2>"$folder/build" || { cat "$folder/build"; exit 1; }
binary() { sed -n "s|.*$1.*(\(.*\))\$|\1|p" "$folder/build"; }
own=$(binary src/lib.rs) kernels=$(binary tests/cuda/main.rs)
run() { LD_PRELOAD=$preload $launcher "$@" --test-threads=1 --nocapture >"$folder/log" 2>&1; }

failed=0
complain() {
    echo "WRONG   $1"
    head -40 "$folder/log"
    failed=1
}
old_ifs=$IFS; IFS='|'
for case in $expected; do
    IFS=$old_ifs
    name=${case%%:*} report=${case#*:}
    run "$own" --exact "cuda::tests::faulty::$name"
    status=$?
    if [ $status -ne 0 ] && grep -q "$report" "$folder/log" && grep -q 'faulty\.cu:[0-9]' "$folder/log"; then
        echo "found   $name"
    else
        complain "$name: no report of \"$report\" with its line"
    fi
    IFS='|'
done
IFS=$old_ifs

[ $# -gt 0 ] || set -- attention::uneven_sizes attention::halves_of_whole_tiles rows::softmax_of_rows rows::layer_norm \
    rows::cross_entropy_of rows::a_label tensor_cores_with small_products a_long_k few_vectors scan::products sort:: \
    indexing::gather_and indexing::sums_into random::dropout reduce::nan optimisers::adamw nonzero::places \
    cuda::tests::hopper::a_pipeline cuda::tests::hopper::boxes cuda::tests::fragments
for name; do
    started=$(date +%s)
    case $name in cuda::tests::*) program=$own ;; *) program=$kernels ;; esac
    if run "$program" "$name" && grep -q '[1-9][0-9]* passed' "$folder/log"; then
        echo "clean   $name ($(($(date +%s) - started)) s)"
    else
        complain "$name"
    fi
done
exit $failed
