package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"
)

// The layout of a block of messages, as nats-server 2.15 writes it: records of
//
//	length u32 | sequence u64 | time i64 | length of the subject u16 | subject | (header) | message | checksum u64
//
// in little-endian order. The highest bit of the length says that there is a
// header; two bits of the sequence mark what was deleted.
const (
	recordHead   = 22
	recordSum    = 8
	recordMax    = 32 << 20
	recordHeader = 1 << 31
	recordMarks  = 1<<63 | 1<<62
)

// block is one file of a stream's messages.
type block struct {
	stream, path string
	last         bool // of its stream: a crash may have torn its end
}

// unreadable is a stretch of a block whose checksums do not fit.
type unreadable struct {
	from, to      int    // bytes of the block, where it is not compressed
	first, behind uint64 // the sequences of the readable messages before and after; 0: none
	subject       string // of the first record in it, if that can be told
}

// String says which messages are missing.
func (u unreadable) String() string {
	text := "messages"
	if u.first > 0 {
		text += fmt.Sprintf(" after %d", u.first)
	}
	if u.behind > 0 {
		text += fmt.Sprintf(" before %d", u.behind)
	}
	if u.subject != "" {
		text += " (" + u.subject + ")"
	}
	return text
}

// blocksOf lists the blocks of every stream under dir, a server's store.
func blocksOf(dir string) ([]block, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "*", "msgs", "*.blk"))
	if err != nil {
		return nil, err
	}
	var all []block
	highest := map[string]int{}
	for _, p := range paths {
		b := block{stream: filepath.Base(filepath.Dir(filepath.Dir(p))), path: p}
		if n, ok := b.number(); ok {
			all, highest[b.stream] = append(all, b), max(highest[b.stream], n)
		}
	}
	for i := range all {
		n, _ := all[i].number()
		all[i].last = n == highest[all[i].stream]
	}
	return all, nil
}

func (b block) number() (int, bool) {
	n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(b.path), ".blk"))
	return n, err == nil
}

// check reads a block and returns what of it cannot be read, as the server would
// find it, and how many records can. torn allows that its end is not whole.
// cuttable says that the stretches are bytes of the file itself, and not all of it.
func (b block) check(torn bool) (bad []unreadable, good int, cuttable bool, err error) {
	raw, err := os.ReadFile(b.path)
	if err != nil {
		return nil, 0, false, err
	}
	cuttable = true
	var packed server.CompressionInfo
	if n, err := packed.UnmarshalMetadata(raw); err == nil && packed.Algorithm != server.NoCompression {
		cuttable = false
		if raw, err = packed.Algorithm.Decompress(raw[n:]); err != nil {
			return []unreadable{{}}, 0, false, nil
		}
	}
	n, _ := b.number()
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", b.stream, n))
	sum, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		return nil, 0, false, err
	}
	bad, good = scan(raw, sum, torn)
	return bad, good, cuttable && good > 0, nil
}

func scan(raw []byte, sum hash.Hash, torn bool) (bad []unreadable, good int) {
	var last uint64
	for at := 0; at < len(raw); {
		size, seq, ok := record(raw[at:], sum)
		if ok {
			last, at, good = seq, at+size, good+1
			continue
		}
		u := unreadable{from: at, to: len(raw), first: last, subject: subjectOf(raw[at:])}
		for next := at + 1; next+recordHead+recordSum <= len(raw); next++ {
			if _, seq, ok := record(raw[next:], sum); ok && seq >= last {
				u.to, u.behind = next, seq
				break
			}
		}
		if u.behind == 0 && torn {
			return bad, good // nothing was promised of the last record
		}
		bad, at = append(bad, u), u.to
	}
	return bad, good
}

// record reads the record at the beginning of raw, and reports whether its
// checksum fits.
func record(raw []byte, sum hash.Hash) (size int, seq uint64, ok bool) {
	if len(raw) < recordHead+recordSum {
		return 0, 0, false
	}
	length, subject := binary.LittleEndian.Uint32(raw), int(binary.LittleEndian.Uint16(raw[20:]))
	skip := subject
	if length&recordHeader != 0 {
		skip += 4
	}
	size = int(length &^ recordHeader)
	if size > recordMax || size > len(raw) || recordHead+skip+recordSum > size {
		return 0, 0, false
	}
	sum.Reset()
	_, _ = sum.Write(raw[4:20])
	_, _ = sum.Write(raw[recordHead : recordHead+subject])
	_, _ = sum.Write(raw[recordHead+skip : size-recordSum])
	if !bytes.Equal(sum.Sum(nil), raw[size-recordSum:size]) {
		return 0, 0, false
	}
	return size, binary.LittleEndian.Uint64(raw[4:]) &^ recordMarks, true
}

// subjectOf is what seems to be the subject of a broken record.
func subjectOf(raw []byte) string {
	if len(raw) < recordHead {
		return ""
	}
	n := int(binary.LittleEndian.Uint16(raw[20:]))
	if n == 0 || n > 255 || recordHead+n > len(raw) {
		return ""
	}
	subject := string(raw[recordHead : recordHead+n])
	if strings.IndexFunc(subject, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }) >= 0 {
		return ""
	}
	return subject
}

// cut takes the unreadable stretches out of a block: the server would drop
// everything behind the first of them. The block as it was goes to keep; the
// server derives its indexes from the blocks anew.
func (b block) cut(bad []unreadable, keep string) error {
	raw, err := os.ReadFile(b.path)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(keep, 0o750); err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(keep, b.stream+"-"+filepath.Base(b.path)), raw); err != nil {
		return err
	}
	for _, u := range slices.Backward(bad) {
		raw = slices.Delete(raw, u.from, u.to)
	}
	for _, derived := range []string{"index.db", "sched.db", "thw.db"} {
		if err := os.Remove(filepath.Join(filepath.Dir(b.path), derived)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return replaceFile(b.path, raw)
}

// replaceFile writes a file so that it is there whole or as before.
func replaceFile(path string, data []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		_ = os.Remove(path + ".new")
	}
	return err
}
