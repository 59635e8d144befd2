module traffic-footprint/bench/go-extender

go 1.24
