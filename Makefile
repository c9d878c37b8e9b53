# make demo   set up what is missing, build, run the main job
# make test   set up what is missing, run every test
# make fuzz   set up what is missing, see that the fuzz targets still compile
# make setup  only set up

.PHONY: demo test fuzz setup

demo: setup
	cargo run --release -- demo

test: setup
	cargo test --release

fuzz: setup
	cargo check --manifest-path fuzz/Cargo.toml --bins

# On Linux without any Vulkan driver: Mesa's software one, by apt. With one, or elsewhere: nothing.
setup:
	@sh setup.sh
