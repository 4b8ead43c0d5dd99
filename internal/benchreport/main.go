// Command benchreport turns what `make bench` printed into tables and a chart.
//
//	benchreport RESULTS              print the tables
//	benchreport -docs DIR RESULTS    put them into DIR/performance.md and draw DIR/performance.svg
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/weftnet/weft/internal/benchmark/result"
)

func main() {
	docs := flag.String("docs", "", "rewrite performance.md and performance.svg in this directory")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "benchreport: one file of results is wanted: benchreport [-docs DIR] RESULTS")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *docs); err != nil {
		fmt.Fprintln(os.Stderr, "benchreport:", err)
		os.Exit(1)
	}
}

func run(results, docs string) error {
	f, err := read(results)
	if err != nil {
		return err
	}
	if docs == "" {
		_, err := fmt.Print(report(f))
		return err
	}
	return rewrite(f, docs)
}

func read(path string) (*result.File, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	f, err := result.Parse(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// rewrite brings the documents up to date with the results.
func rewrite(f *result.File, docs string) error {
	page := filepath.Join(docs, "performance.md")
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	text, err := between(string(old), report(f))
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(docs, "performance.svg"), []byte(chart(f)), 0o644)
}
