# make demo   set up what is missing, build, run the main job
# make test   set up what is missing, run every test
# make setup  only set up

.PHONY: demo test setup

demo: setup
	cargo run --release -- demo

test: setup
	cargo test --release

# On Linux without any Vulkan driver: Mesa's software one, by apt. With one, or elsewhere: nothing.
setup:
	@sh setup.sh
