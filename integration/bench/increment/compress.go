package main

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"
)

// level is what one level of compression makes of one kind of files.
type level struct {
	kind, name string
	in, out    int64
	took       time.Duration // of one processor, whatever else the machine does
}

func (l level) ratio() float64 { return float64(l.out) / float64(l.in) }

func (l level) rate() float64 { return float64(l.in) / (1 << 20) / l.took.Seconds() }

const (
	// frame is how much is compressed at a time: a chunk of the product's.
	frame = 1 << 20
	// sample bounds what of a kind is compressed.
	sample = 128 << 20
)

// compress compresses files of each kind at each level, chunk by chunk as the product
// does, one after the other.
func (r *run) compress() ([]level, error) {
	files, err := copied(r.dirs)
	if err != nil {
		return nil, err
	}
	var all []level
	for _, kind := range []string{".couch", ".view"} {
		frames, err := sampled(files, kind)
		if err != nil {
			return nil, err
		}
		for _, l := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression, zstd.SpeedBestCompression} {
			e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(l), zstd.WithEncoderConcurrency(1))
			if err != nil {
				return nil, err
			}
			one := level{kind: kind, name: l.String()}
			began, err := processor()
			if err != nil {
				return nil, err
			}
			for _, f := range frames {
				one.in += int64(len(f))
				one.out += int64(len(e.EncodeAll(f, nil)))
			}
			ended, err := processor()
			if err != nil {
				return nil, err
			}
			one.took = ended - began
			all = append(all, one)
			if err := e.Close(); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// processor is the time that this process used.
func processor() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

func sampled(files []string, kind string) (frames [][]byte, err error) {
	total := 0
	for _, path := range files {
		if !strings.HasSuffix(path, kind) || total > sample {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		err = fixed(frame)(f, func(chunk []byte) {
			frames = append(frames, append([]byte(nil), chunk...))
			total += len(chunk)
		})
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	if total == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return frames, nil
}
