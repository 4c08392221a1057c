package egress

import "tapedeck/recorder"

// Affinity is affinity.
func Affinity(load recorder.Load, cpu float64, room string) float32 { return affinity(load, cpu, room) }
