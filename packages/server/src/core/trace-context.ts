// W3C Trace Context, as it is passed on: read from the attributes of an event, and judged wherever it comes from. Pure.
import type { Attributes } from './event-filter.ts';

const traceparentPattern = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;
/** As much as others promise to pass on. */
const mostState = 512;

/** A trace context that is no trace context is dropped, as W3C Trace Context asks, not refused. */
export const isTraceparent = (value: string): boolean =>
  traceparentPattern.test(value) && !value.startsWith('ff') && !/^..-0{32}-/.test(value) && !/-0{16}-..$/.test(value);

/** The publisher's trace, as header fields: its extension attributes of the same names (CloudEvents, Distributed Tracing). */
export function traceFields({ traceparent, tracestate }: Attributes): [string, string][] {
  if (typeof traceparent !== 'string' || !isTraceparent(traceparent)) return [];
  const fields: [string, string][] = [['traceparent', traceparent]];
  if (typeof tracestate === 'string' && tracestate.length <= mostState && /^[\x20-\x7e]+$/.test(tracestate))
    fields.push(['tracestate', tracestate]);
  return fields;
}
