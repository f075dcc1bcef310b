package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// entry is a file of an archive.
type entry struct {
	from, name string
	mode       fs.FileMode
}

// packTar writes entries as a gzipped tar in which nothing tells of this machine.
func packTar(path string, entries []entry, when time.Time) error {
	return write(path, func(out io.Writer) error {
		zipped, err := gzip.NewWriterLevel(out, gzip.BestCompression)
		if err != nil {
			return err
		}
		archive := tar.NewWriter(zipped)
		for _, e := range entries {
			content, err := os.ReadFile(e.from)
			if err != nil {
				return err
			}
			head := &tar.Header{Name: e.name, Mode: int64(e.mode), Size: int64(len(content)), ModTime: when, Format: tar.FormatPAX}
			if err := archive.WriteHeader(head); err != nil {
				return err
			}
			if _, err := archive.Write(content); err != nil {
				return err
			}
		}
		if err := archive.Close(); err != nil {
			return err
		}
		return zipped.Close()
	})
}

// packZip is packTar for those who expect a zip.
func packZip(path string, entries []entry, when time.Time) error {
	return write(path, func(out io.Writer) error {
		archive := zip.NewWriter(out)
		for _, e := range entries {
			content, err := os.ReadFile(e.from)
			if err != nil {
				return err
			}
			head := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: when}
			head.SetMode(e.mode)
			file, err := archive.CreateHeader(head)
			if err != nil {
				return err
			}
			if _, err := file.Write(content); err != nil {
				return err
			}
		}
		return archive.Close()
	})
}

func write(path string, content func(io.Writer) error) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if closed := file.Close(); err == nil {
			err = closed
		}
	}()
	return content(file)
}

// writeSums writes the SHA-256 of files as `sha256sum -c` reads them.
func writeSums(path string, files []string) error {
	slices.Sort(files)
	var sums bytes.Buffer
	for _, name := range files {
		sum, err := sumOf(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, filepath.Base(name))
	}
	return os.WriteFile(path, sums.Bytes(), 0o644)
}

func sumOf(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sha256.Sum256(content)), nil
}
