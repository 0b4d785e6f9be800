// How many items a page of a list has.
import { WaitlessError } from '@waitless/protocol';

const defaultLimit = 50;
const mostLimit = 1000;

export function limitOf(value: string | undefined): number {
  if (value === undefined) return defaultLimit;
  if (!/^[1-9]\d{0,3}$/.test(value) || Number(value) > mostLimit)
    throw new WaitlessError('invalid-parameter', `limit must be a whole number from 1 to ${mostLimit}`);
  return Number(value);
}
