// Does what `benchmarks/emmett_node.py` asks for, line by line: a command as JSON in, its answer out.

import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { dumbo } from "@event-driven-io/dumbo";
import { getPostgreSQLEventStore, readMessagesBatch } from "@event-driven-io/emmett-postgresql";

const EXISTING = 1_000;
const PAGE = 1_000;
const NEW = { expectedStreamVersion: 0n };

const url = process.argv[2];
const store = getPostgreSQLEventStore(url);
const reading = dumbo({ connectionString: url });
let existing = [];
let next = 0;

function events(number, data) {
  return Array.from({ length: number }, () => ({ type: "OrderPlaced", data, metadata: {} }));
}

async function repeat(callers, seconds, wait, operation) {
  await pause(1_000 * wait);
  const cpu = process.cpuUsage();
  const latencies = [];
  const start = performance.now();
  const until = start + 1_000 * seconds;
  const caller = async () => {
    do {
      const begun = performance.now();
      await operation();
      latencies.push((performance.now() - begun) / 1_000);
    } while (performance.now() < until);
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const taken = (performance.now() - start) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  return { latencies, taken, cpu: (user + system) / 1_000_000 };
}

async function existingStreams(data) {
  if (existing.length === 0) {
    existing = Array.from({ length: EXISTING }, () => randomUUID());
    await Promise.all(existing.map((stream) => store.appendToStream(stream, events(1, data), NEW)));
  }
  return existing;
}

const commands = {
  async install() {
    await store.schema.migrate();
  },

  async append({ events: number, data, existing: toExisting, callers, seconds, wait }) {
    const streams = toExisting ? await existingStreams(data) : [];
    return repeat(callers, seconds, wait, () =>
      toExisting
        ? store.appendToStream(streams[next++ % EXISTING], events(number, data))
        : store.appendToStream(randomUUID(), events(number, data), NEW),
    );
  },

  async fill({ stream, number, data }) {
    for (let stored = 0; stored < number; stored += PAGE) {
      await store.appendToStream(stream, events(Math.min(PAGE, number - stored), data));
    }
  },

  async read({ stream, length, readers, seconds }) {
    return repeat(readers, seconds, 0, async () => {
      const { events: read } = await store.readStream(stream);
      if (read.length !== length) throw new Error(`read ${read.length} events of ${length}`);
    });
  },

  async readAll() {
    const [cpu, start] = [process.cpuUsage(), performance.now()];
    let [read, after] = [0, 0n];
    for (;;) {
      const page = await readMessagesBatch(reading.execute, { after, batchSize: PAGE });
      if (page.messages.length === 0) break;
      read += page.messages.length;
      after = page.currentGlobalPosition;
    }
    const { user, system } = process.cpuUsage(cpu);
    const taken = (performance.now() - start) / 1_000;
    return { read, taken, cpu: (user + system) / 1_000_000 };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...options } = JSON.parse(line);
  console.log(JSON.stringify((await commands[command](options)) ?? {}));
}
await reading.close();
await store.close();
