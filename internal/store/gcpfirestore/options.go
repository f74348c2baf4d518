package gcpfirestore

import (
	"context"
	"errors"
	"time"

	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// Options say which database to open.
type Options struct {
	Project      string
	Database     string        // "" is (default)
	EmulatorHost string        // host:port of an emulator; "" is the service with the usual credentials
	Connections  int           // gRPC connections; 0 is 4
	Timeout      time.Duration // of one RPC at most, whatever the caller's context allows; 0 is 20 s
}

// Validate reports every problem at once.
func (o *Options) Validate() error {
	var errs []error
	if o.Project == "" {
		errs = append(errs, errors.New("project: missing"))
	}
	if o.Connections < 0 {
		errs = append(errs, errors.New("connections: negative"))
	}
	if o.Timeout < 0 {
		errs = append(errs, errors.New("timeout: negative"))
	}
	return errors.Join(errs...)
}

func (o *Options) setDefaults() {
	if o.Database == "" {
		o.Database = "(default)"
	}
	if o.Connections == 0 {
		o.Connections = 4
	}
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
}

func (o *Options) clientOptions() []option.ClientOption {
	opts := []option.ClientOption{
		option.WithGRPCConnectionPool(o.Connections),
		option.WithGRPCDialOption(grpc.WithDefaultCallOptions(grpc.ForceCodecV2(newAnswers()))),
		// A connection that died without a word is noticed within 25 s, the next one is tried at least
		// every 10 s (gRPC's default is 120): work resumes soon after an outage.
		option.WithGRPCDialOption(grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 15 * time.Second, Timeout: 10 * time.Second,
		})),
		option.WithGRPCDialOption(grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 500 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 10 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		})),
	}
	if o.EmulatorHost == "" {
		return opts
	}
	return append(opts,
		option.WithEndpoint(o.EmulatorHost),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		option.WithGRPCDialOption(grpc.WithPerRPCCredentials(owner{})),
	)
}

// owner is the emulator's administrator, who is not held to security rules.
type owner struct{}

func (owner) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer owner"}, nil
}

func (owner) RequireTransportSecurity() bool { return false }
