# make demo   set up what is missing, build, run the main job
# make test   set up what is missing, run every test
# make fuzz   set up what is missing, see that the fuzz targets still compile
# make setup  only set up
# make test-mpi   set up an MPI too, build with it, run the tests of several ranks; make test and make demo build without again
# make setup-mpi  only set that up

.PHONY: demo test fuzz setup test-mpi setup-mpi

demo: setup
	cargo run --release -- demo

test: setup
	cargo test --release

fuzz: setup
	cargo check --manifest-path fuzz/Cargo.toml --bins

test-mpi: setup-mpi
	cargo test --release --features mpi --test mpi

setup-mpi: setup
	@sh setup.sh mpi

# On Linux without any Vulkan driver: Mesa's software one, by apt. With one, or elsewhere: nothing.
setup:
	@sh setup.sh
