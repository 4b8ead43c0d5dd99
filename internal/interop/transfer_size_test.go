package interop

import (
	"os"
	"strconv"
	"testing"
)

const mib = 1 << 20

// envTransfer names a variable that holds how many MiB a large transfer has,
// for machines on which the usual 64 would take too long.
const envTransfer = "WEFT_TRANSFER_MIB"

// largeTransfer is how many bytes a transfer has that shows that a path lasts.
func largeTransfer(t *testing.T) int64 {
	t.Helper()
	if text := os.Getenv(envTransfer); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("%s is %q: a number of MiB is wanted, 1 at least", envTransfer, text)
		}
		return int64(n) * mib
	}
	if testing.Short() || raceDetector {
		return 4 * mib
	}
	return 64 * mib
}

// smallTransfer is how many bytes one has that shows only that a combination
// works: some hundred segments each way. The variable makes it as large as the
// others, and one byte more.
func smallTransfer(t *testing.T) int64 {
	t.Helper()
	if os.Getenv(envTransfer) != "" {
		return largeTransfer(t) + 1
	}
	return 1*mib + 1
}
