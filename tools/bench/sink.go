package main

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // an exporter may compress
	"google.golang.org/grpc/mem"
)

// A sink takes what an OTLP exporter sends by gRPC and counts it. It decodes
// nothing, so that it takes little of the machine.
type sink struct {
	endpoint       string
	exports, bytes atomic.Int64
	server         *grpc.Server
}

func startSink(ctx context.Context) (*sink, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for traces: %w", err)
	}
	s := &sink{endpoint: "grpc://" + listener.Addr().String()}
	s.server = grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(s.export),
		grpc.MaxRecvMsgSize(64<<20))
	go func() { _ = s.server.Serve(listener) }() // it ends by stop
	return s, nil
}

func (s *sink) stop() { s.server.Stop() }

// export answers any method with an empty message, which in OTLP means that all
// was taken.
func (s *sink) export(_ any, stream grpc.ServerStream) error {
	var size int
	if err := stream.RecvMsg(&size); err != nil {
		return err
	}
	s.exports.Add(1)
	s.bytes.Add(int64(size))
	return stream.SendMsg(nil)
}

// rawCodec reads a message as its length and writes an empty one.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(any) (mem.BufferSlice, error) { return mem.BufferSlice{}, nil }

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	size, ok := v.(*int)
	if !ok {
		return fmt.Errorf("cannot decode into %T", v)
	}
	*size = data.Len()
	return nil
}
