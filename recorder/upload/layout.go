package upload

// Sizes of uploads in parts. S3 allows parts of 5 MiB to 5 GiB, 10,000 at most;
// the others allow these as well.
const (
	mib          = int64(1) << 20
	multipartMin = 16 * mib // smaller files go in one request
	partMin      = 8 * mib
	partLeast    = 5 * mib
	partLargest  = int64(5) << 30
	partsAtOnce  = 4

	// All parts but the last are of one size, which some servers insist on, up to
	// partsEqual of them. A file that outgrows these was expected to be smaller: its
	// parts double after every partsStep more, so that no length runs out of numbers.
	partsEqual = 9_000
	partsStep  = 100
)

// partSize gives the size of the parts of a file that is whole.
func partSize(size int64) int64 { return max(partsOf(size), partMin) }

// growingPartSize gives the size of the parts of a file that is expected to become
// so large: the smallest there is, for what is not sent is what a lost node costs.
func growingPartSize(expected int64) int64 { return max(partsOf(expected), partLeast) }

func partsOf(size int64) int64 {
	part := (size + partsEqual - 1) / partsEqual
	return (part + mib - 1) / mib * mib
}

// partSpan gives where part n (from 1) begins, and its size unless the file ends in it.
func partSpan(base int64, n int) (at, size int64) {
	if n <= partsEqual {
		return int64(n-1) * base, base
	}
	at = partsEqual * base
	for first := partsEqual + 1; ; first += partsStep {
		base = min(2*base, partLargest)
		if n < first+partsStep {
			return at + int64(n-first)*base, base
		}
		at += partsStep * base
	}
}

// partCount gives how many parts a file has.
func partCount(base, size int64) int {
	if n := (size + base - 1) / base; n <= partsEqual {
		return int(n)
	}
	n := partsEqual
	for {
		if at, _ := partSpan(base, n+1); at >= size {
			return n
		}
		n++
	}
}

// piece is one part of a file on its way.
type piece struct {
	n        int
	at, size int64
	sum      string // MD5, hex
}

// pieceOf gives part n of a file of so many bytes.
func pieceOf(base, size int64, n int) piece {
	at, length := partSpan(base, n)
	return piece{n: n, at: at, size: min(length, size-at)}
}
