import { expect, test } from 'vitest';
import { Start } from './start';

function started(prepare?: (s: Start) => void): Start {
  const start = new Start();
  start.connected(1000);
  prepare?.(start);
  return start;
}

test('not before the room is there', () => expect(new Start().due(1e9)).toEqual({ start: false }));
test('when the first picture has settled', () => {
  const start = started((s) => s.expect(true, true));
  expect(start.due(1500).start).toBe(false);
  start.painted(1500);
  start.painted(1600);
  expect(start.due(1699).start).toBe(false);
  expect(start.due(1700).start).toBe(true);
});
test('sound does not do when a picture is on its way', () => {
  const start = started((s) => s.expect(true, true));
  start.heard();
  expect(start.due(1500).start).toBe(false);
});
test('with the first sound when there is no picture to wait for', () => {
  const start = started((s) => s.expect(false, true));
  expect(start.due(4500).start).toBe(false);
  start.heard();
  expect(start.due(1500).start).toBe(true);
});
test('after 3 s when nobody publishes', () => {
  const start = started();
  expect(start.due(3999).start).toBe(false);
  expect(start.due(4000)).toEqual({ start: true });
});
test('after 8 s when what is published does not come', () => {
  const start = started((s) => s.expect(true, false));
  expect(start.due(8999).start).toBe(false);
  expect(start.due(9000)).toEqual({ start: true, missing: true });
});
test('connecting again does not prolong the wait', () => {
  const start = started();
  start.connected(3900);
  expect(start.due(4000).start).toBe(true);
});
test('not without whom it is of, and in vain before the recorder gives up', () => {
  const start = new Start(30_000);
  start.connected(1000);
  start.await(true, 1000);
  expect(start.due(27_999)).toEqual({ start: false, vain: false });
  expect(start.due(28_000)).toEqual({ start: false, vain: true });
});
test('who comes late has as long for a first picture as anybody', () => {
  const start = new Start(30_000);
  start.connected(1000);
  start.await(true, 1000);
  start.await(false, 20_000);
  start.expect(true, false);
  expect(start.due(20_020)).toEqual({ start: false });
  start.painted(20_500);
  expect(start.due(20_700).start).toBe(true);
});
test('in vain after half of a short time', () => {
  const start = new Start(3000);
  start.connected(500);
  start.await(true, 500);
  expect(start.due(1499).vain).toBe(false);
  expect(start.due(1500).vain).toBe(true);
});
test('nobody is waited for when the recorder does not say how long', () => {
  const start = started((s) => s.await(true, 1000));
  expect(start.due(4000)).toEqual({ start: true });
});
