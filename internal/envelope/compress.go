package envelope

import (
	"errors"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Zstd is the only encoding of raw payloads.
const Zstd = "zstd"

// ErrRaw marks a raw payload that cannot be decompressed within its limit.
var ErrRaw = errors.New("raw payload cannot be decompressed")

// The coders are made once: each holds large tables. EncodeAll and DecodeAll are safe for concurrent use.
var (
	encoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithWindowSize(1<<20))
		if err != nil {
			panic(err) // impossible: the options are constant
		}
		return e
	})
	decoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRaw))
		if err != nil {
			panic(err) // impossible: the options are constant
		}
		return d
	})
)

// maxRaw bounds what a compressed payload may expand to: well above the largest body that ingest accepts.
const maxRaw = 32 << 20

// Compress compresses a raw payload.
func Compress(raw []byte) []byte { return encoder().EncodeAll(raw, nil) }

// Decompress undoes [Compress]. It returns [ErrRaw] for damaged or oversized input.
func Decompress(b []byte) ([]byte, error) {
	raw, err := decoder().DecodeAll(b, nil)
	if err != nil {
		return nil, ErrRaw
	}
	return raw, nil
}
