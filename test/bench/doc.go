// Package bench measures what a recording costs and how exact it is, against
// the built binary: `make bench` prints the table of docs/bench.md. The
// measuring itself is behind the build tag bench, so that `make test` stays short.
package bench
