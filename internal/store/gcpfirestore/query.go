package gcpfirestore

import (
	"context"
	"math"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/usherhq/usher/internal/code"
	"github.com/usherhq/usher/internal/store"
)

const nameField = "__name__"

// Query implements [store.Store]. Filters beside an order by another field need a composite index in the
// service; without it the error is code.NotFound.
func (c *Client) Query(ctx context.Context, q store.Query) ([]store.Doc, error) {
	if err := store.CheckQuery(&q); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, classify(ctx, opQuery, err, false)
	}
	sq, err := c.structured(&q)
	if err != nil {
		return nil, code.New(code.Invalid, opQuery, nil)
	}
	parent := c.database + "/documents"
	if p := q.Collection.Parent(); p != "" {
		parent += "/" + string(p)
	}
	rctx, cancel := c.deadline(ctx)
	defer cancel()
	stream, err := c.rpc.RunQuery(rctx, &firestorepb.RunQueryRequest{
		Parent:    parent,
		QueryType: &firestorepb.RunQueryRequest_StructuredQuery{StructuredQuery: sq},
	})
	if err != nil {
		return nil, classify(ctx, opQuery, err, false)
	}
	var docs []store.Doc
	err = each(stream, func(r reader) {
		for r.next() {
			if r.is(answerDocument) { // else only progress
				docs = append(docs, c.decodeDocument(r.inner()))
			}
		}
	})
	if err != nil {
		return nil, classify(ctx, opQuery, err, false)
	}
	return docs, nil
}

func (c *Client) structured(q *store.Query) (*firestorepb.StructuredQuery, error) {
	sq := &firestorepb.StructuredQuery{
		From:  []*firestorepb.StructuredQuery_CollectionSelector{{CollectionId: q.Collection.ID()}},
		Limit: wrapperspb.Int32(int32(q.Limit)),
	}
	direction := firestorepb.StructuredQuery_ASCENDING
	if q.Descending {
		direction = firestorepb.StructuredQuery_DESCENDING
	}
	if q.OrderBy != "" {
		sq.OrderBy = append(sq.OrderBy, &firestorepb.StructuredQuery_Order{Field: field(q.OrderBy), Direction: direction})
	}
	sq.OrderBy = append(sq.OrderBy, &firestorepb.StructuredQuery_Order{
		Field: &firestorepb.StructuredQuery_FieldReference{FieldPath: nameField}, Direction: direction,
	})
	if q.After != nil {
		sq.StartAt = &firestorepb.Cursor{} // Before is false: behind the document
		if q.OrderBy != "" {
			v, err := protoValue(c.prefix, q.After.Fields.Get(q.OrderBy))
			if err != nil {
				return nil, err
			}
			sq.StartAt.Values = append(sq.StartAt.Values, v)
		}
		sq.StartAt.Values = append(sq.StartAt.Values, &firestorepb.Value{
			ValueType: &firestorepb.Value_ReferenceValue{ReferenceValue: c.prefix + string(q.After.Path)},
		})
	}
	var err error
	sq.Where, err = c.where(q.Where)
	return sq, err
}

func (c *Client) where(filters []store.Filter) (*firestorepb.StructuredQuery_Filter, error) {
	if len(filters) == 0 {
		return nil, nil
	}
	all := &firestorepb.StructuredQuery_CompositeFilter{Op: firestorepb.StructuredQuery_CompositeFilter_AND}
	for i := range filters {
		f, err := c.filter(&filters[i])
		if err != nil {
			return nil, err
		}
		all.Filters = append(all.Filters, f)
	}
	return &firestorepb.StructuredQuery_Filter{
		FilterType: &firestorepb.StructuredQuery_Filter_CompositeFilter{CompositeFilter: all},
	}, nil
}

func (c *Client) filter(f *store.Filter) (*firestorepb.StructuredQuery_Filter, error) {
	if op, ok := unary(f); ok {
		return &firestorepb.StructuredQuery_Filter{
			FilterType: &firestorepb.StructuredQuery_Filter_UnaryFilter{UnaryFilter: &firestorepb.StructuredQuery_UnaryFilter{
				Op:          op,
				OperandType: &firestorepb.StructuredQuery_UnaryFilter_Field{Field: field(f.Field)},
			}},
		}, nil
	}
	v, err := protoValue(c.prefix, f.Value)
	if err != nil {
		return nil, err
	}
	op := firestorepb.StructuredQuery_FieldFilter_EQUAL
	if f.Op == store.ArrayContains {
		op = firestorepb.StructuredQuery_FieldFilter_ARRAY_CONTAINS
	}
	return &firestorepb.StructuredQuery_Filter{
		FilterType: &firestorepb.StructuredQuery_Filter_FieldFilter{FieldFilter: &firestorepb.StructuredQuery_FieldFilter{
			Field: field(f.Field), Op: op, Value: v,
		}},
	}, nil
}

// unary returns the operator that stands for equality with null or NaN.
func unary(f *store.Filter) (firestorepb.StructuredQuery_UnaryFilter_Operator, bool) {
	if f.Op != store.Equal {
		return 0, false
	}
	if f.Value == nil {
		return firestorepb.StructuredQuery_UnaryFilter_IS_NULL, true
	}
	if d, ok := f.Value.(float64); ok && math.IsNaN(d) {
		return firestorepb.StructuredQuery_UnaryFilter_IS_NAN, true
	}
	return 0, false
}

func field(name string) *firestorepb.StructuredQuery_FieldReference {
	return &firestorepb.StructuredQuery_FieldReference{FieldPath: string(appendSegment(nil, name))}
}
