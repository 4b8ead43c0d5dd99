package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/control"
)

func TestBatchLines(t *testing.T) {
	text := "# a comment\n" +
		"link show\n" +
		"   \n" +
		"link  set\tvx0 up   # trailing\n" +
		"fdb append \\\n 00:00:00:00:00:00 \\\ndev vx0\r\n" +
		"addr add '10.1.1.1/24' dev \"a b\" label x#y\n" +
		"link set 'a#b' alias it's # \\\n" +
		"\"\" last line"
	want := []string{
		"2: link|show",
		"4: link|set|vx0|up",
		"7: fdb|append|00:00:00:00:00:00|dev|vx0",
		"8: addr|add|10.1.1.1/24|dev|a b|label|x",
		"9: link|set|a#b|alias|it's",
		"10: |last|line",
	}
	b := batchLines{in: bufio.NewReader(strings.NewReader(text))}
	var got []string
	for {
		words, err := b.next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			break
		}
		got = append(got, fmt.Sprintf("%d: %s", b.line, strings.Join(words, "|")))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	b = batchLines{in: bufio.NewReader(strings.NewReader("link show 'vx0\n"))}
	if _, err := b.next(); !isUsage(err) || !strings.Contains(err.Error(), `"vx0" has no end`) {
		t.Errorf("a quote without end: %v", err)
	}
}

// runBatch runs a file named f in a directory of its own.
func runBatch(t *testing.T, text string, options ...string) (status int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	return weft(t, append(options, "-batch", "f")...)
}

func TestBatchStopsAtTheFirstFailure(t *testing.T) {
	standIn(t, func(*control.Exchange) control.Response { return control.Done() })
	text := "version\n\nlink set nosuch up\nversion\nbogus\n"
	status, stdout, stderr := runBatch(t, text)
	if status != failed || strings.Count(stdout, "weft ") != 1 {
		t.Errorf("status %d\n%s", status, stdout)
	}
	if want := "weft: no device \"nosuch\" in this network namespace\nCommand failed f:3\n"; stderr != want {
		t.Errorf("got\n%swant\n%s", stderr, want)
	}
	status, stdout, stderr = runBatch(t, text, "-force")
	if status != failed || strings.Count(stdout, "weft ") != 2 || !strings.Contains(stderr, "\nweft: unknown command \"bogus\"") || !strings.HasSuffix(stderr, "\nCommand failed f:5\n") {
		t.Errorf("with -force: status %d, %s\n%s", status, stderr, stdout)
	}
	if status, stdout, stderr := runBatch(t, "version\nversion\n", "-j"); status != done || strings.Count(stdout, `{"version"`) != 2 || stderr != "" {
		t.Errorf("with -j: status %d, %s\n%s", status, stderr, stdout)
	}
}

func TestBatchFromStandardInput(t *testing.T) {
	for _, options := range []string{"-batch -", "--batch -", "-b -", "-force -b -", "-s -force --batch=-"} {
		var out, errs bytes.Buffer
		status := Main(append([]string{"weft"}, strings.Fields(options)...), strings.NewReader("version\nlink foo\n"), &out, &errs)
		if status != failed || !strings.HasPrefix(out.String(), "weft ") || !strings.HasSuffix(errs.String(), "\nCommand failed -:2\n") {
			t.Errorf("%s: status %d, %s\n%s", options, status, &errs, &out)
		}
	}
}

func TestBatchThatCannotBe(t *testing.T) {
	if status, _, stderr := weft(t, "-batch", "/nosuch"); status != failed || !strings.Contains(stderr, "weft: batch file: open /nosuch: no such file") {
		t.Errorf("status %d, %q", status, stderr)
	}
	for text, want := range map[string]string{
		"daemon\n":                 "weft: unknown command \"daemon\"",
		"-batch f\n":               "weft: unknown flag: --batch",
		"version 'a\n":             "weft: quoted word \"a\" has no end",
		"fdb add 1 dev lo dst 5\n": "weft: \"1\" is neither a word",
	} {
		if status, _, stderr := runBatch(t, text); status != failed || !strings.HasPrefix(stderr, want) || !strings.HasSuffix(stderr, "\nCommand failed f:1\n") {
			t.Errorf("%s: status %d, %q", text, status, stderr)
		}
	}
}

// fdbStandIn is a daemon that refuses to have the entries of some addresses.
func fdbStandIn(t *testing.T, refuses ...byte) (requests *[]int, carriedOut *[]byte) {
	link := loopback(t)
	requests, carriedOut = new([]int), new([]byte)
	standIn(t, func(x *control.Exchange) control.Response {
		if x.Op != control.OpChange {
			return control.Done(link)
		}
		*requests = append(*requests, len(x.Changes))
		for i, c := range x.Changes {
			if n := c.MAC[5]; slices.Contains(refuses, n) {
				resp := control.Failed(fmt.Errorf("no entry for %d", n))
				resp.Count = i
				return resp
			}
			*carriedOut = append(*carriedOut, c.MAC[5])
		}
		resp := control.Done()
		resp.Count = len(x.Changes)
		return resp
	})
	return requests, carriedOut
}

func fdbBatch(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "fdb add 02:00:00:00:00:%02x dev lo dst 10.99.0.2\n", i)
	}
	return text.String()
}

func TestBatchPutsChangesTogether(t *testing.T) {
	requests, carriedOut := fdbStandIn(t)
	status, stdout, stderr := runBatch(t, fdbBatch(3)+"version\n"+strings.Repeat(fdbBatch(100), 3)+"fdb flush dev lo\n"+fdbBatch(1))
	if status != done || stderr != "" || !strings.HasPrefix(stdout, "weft ") {
		t.Errorf("status %d, %s\n%s", status, stderr, stdout)
	}
	if want := []int{3, 256, 44, 1}; !slices.Equal(*requests, want) || len(*carriedOut) != 304 {
		t.Errorf("requests of %v, want %v; %d carried out", *requests, want, len(*carriedOut))
	}
}

func TestBatchNamesTheChangeThatFailed(t *testing.T) {
	_, carriedOut := fdbStandIn(t, 2, 4)
	status, stdout, stderr := runBatch(t, "\n"+fdbBatch(6)+"version\n")
	if status != failed || stdout != "" || stderr != "weft: no entry for 2\nCommand failed f:4\n" || !slices.Equal(*carriedOut, []byte{0, 1}) {
		t.Errorf("status %d, %q, carried out %v\n%s", status, stdout, *carriedOut, stderr)
	}
	_, carriedOut = fdbStandIn(t, 2, 4)
	status, stdout, stderr = runBatch(t, "\n"+fdbBatch(6)+"version\n", "-force")
	if status != failed || stdout == "" || stderr != "weft: no entry for 2\nCommand failed f:4\nweft: no entry for 4\nCommand failed f:6\n" || !slices.Equal(*carriedOut, []byte{0, 1, 3, 5}) {
		t.Errorf("with -force: status %d, %q, carried out %v\n%s", status, stdout, *carriedOut, stderr)
	}
	fdbStandIn(t)
	status, _, stderr = runBatch(t, fdbBatch(2)+"fdb add 2:0:0:0:0:9 dev nosuch dst 10.99.0.2\n"+fdbBatch(1), "-force")
	if status != failed || !strings.HasPrefix(stderr, `weft: no link "nosuch"`) || strings.Count(stderr, "\n") != 2 || !strings.HasSuffix(stderr, "Command failed f:3\n") {
		t.Errorf("unknown link: status %d\n%s", status, stderr)
	}
}

// Whoever writes one line and waits for what comes of it does not wait in vain.
func TestBatchDoesNotWaitForMoreLines(t *testing.T) {
	fdbStandIn(t, 1)
	in, feed := io.Pipe()
	complaints := make(lineWriter)
	ended := make(chan int)
	go func() { ended <- Main([]string{"weft", "-force", "-batch", "-"}, in, io.Discard, complaints) }()
	for range 2 {
		fmt.Fprint(feed, "fdb add 02:00:00:00:00:01 dev lo dst 10.99.0.2\n")
		if got := <-complaints; got != "weft: no entry for 1\n" {
			t.Errorf("got %q", got)
		}
		<-complaints // where it was
	}
	feed.Close()
	if status := <-ended; status != failed {
		t.Errorf("status %d", status)
	}
}

func TestLongOptions(t *testing.T) {
	for line, want := range map[string]string{
		"-batch f":            "--batch f",
		"-force -batch f":     "--force --batch f",
		"-b -json":            "-b -json",
		"-json -details link": "--json --details link",
		"-stats link -batch":  "--statistics link -batch",
		"-j -s -d link":       "-j -s -d link",
		"link show -json":     "link show -json",
	} {
		if got := strings.Join(longOptions(strings.Fields(line)), " "); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}
