// The language host for programs in YAML, as pulumi-yaml has it, but for one request: `pulumi package add` of a newer
// engine asks every host to link the package. In YAML there is nothing to link.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/pulumi/pulumi-yaml/pkg/server"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/cmdutil"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
)

// As often as pulumi-yaml's own looks whether its engine lives.
const healthCheckEvery = 5 * time.Minute

type host struct {
	pulumirpc.LanguageRuntimeServer
}

func (host) Link(context.Context, *pulumirpc.LinkRequest) (*pulumirpc.LinkResponse, error) {
	return &pulumirpc.LinkResponse{}, nil
}

func main() {
	// The engine may put flags of its own before its address, which comes last.
	engine := ""
	if len(os.Args) > 1 {
		engine = os.Args[len(os.Args)-1]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ended := make(chan bool)
	go func() {
		<-ctx.Done()
		close(ended)
	}()
	if engine != "" {
		if err := rpcutil.Healthcheck(ctx, engine, healthCheckEvery, stop); err != nil {
			cmdutil.Exit(err)
		}
	}
	serving, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: ended,
		Init: func(srv *grpc.Server) error {
			pulumirpc.RegisterLanguageRuntimeServer(srv, host{server.NewLanguageHost(engine, "", false)})
			return nil
		},
	})
	if err != nil {
		cmdutil.Exit(err)
	}
	fmt.Println(serving.Port)
	if err := <-serving.Done; err != nil {
		cmdutil.Exit(err)
	}
}
