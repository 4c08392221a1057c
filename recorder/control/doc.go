// Package control is how operators see a process over HTTP: whether it is well, and
// its figures for Prometheus.
package control
