/** Asks the search store for lines: each once, in the order of their times, and safe for a terminal. */
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../src/failure.ts";
import { linesOfAnswer } from "../src/search-store.ts";

/** A line as the search store returns it, or a row that a pipe of LogsQL made from lines. */
export interface Row {
  /** The time of the request, RFC 3339. A row without it is not a line. */
  _time?: string;
  _msg?: string;
  pod?: string;
  uid?: string;
  request_id?: string;
  /** The log across its rotations, or the archive, that the line is from; `offset` is the line's place there. */
  file?: string;
  offset?: string;
  /** The archive that a line was restored from. */
  archive?: string;
}

/** Which lines to ask for. */
export interface Question {
  /** LogsQL. */
  query: string;
  pod?: string | undefined;
  from: Date;
  to?: Date | undefined;
  /** At most this many, the newest. */
  limit: number;
}

/** Lines that were found, the oldest first. */
export interface Found {
  rows: Row[];
  /** True if there may be older ones. */
  cut: boolean;
}

const patienceMs = 60_000;
const next = "kubectl --namespace search get pods";

/**
 * Asks for lines.
 * @param url of the search store's door
 * @throws Failure if it does not answer, or does not understand the query
 */
export async function ask(url: string, { query, pod, from, to, limit }: Question): Promise<Found> {
  // If some lines are there twice, this asks for more until there are enough, or no others.
  for (let wanted = limit; ; wanted *= 2) {
    const form = new URLSearchParams({ query, limit: String(wanted), start: from.toISOString() });
    if (to) form.set("end", to.toISOString());
    if (pod !== undefined) form.set("extra_filters", `pod:=${JSON.stringify(pod)}`);
    const rows: Row[] = [];
    const answer = await post(`${url}/select/logsql/query`, form);
    for await (const texts of linesOfAnswer(answer))
      for (const text of texts)
        if (text !== "") rows.push(JSON.parse(Buffer.from(text, "latin1").toString()) as Row);
    const lines = rows.every(({ _time }) => _time !== undefined);
    if (!lines) return { rows, cut: rows.length >= wanted };
    const once = withoutRepeats(inOrder(unique(rows)), new Map());
    if (once.length >= limit || rows.length < wanted)
      return { rows: once.slice(-limit), cut: rows.length >= wanted };
  }
}

async function post(url: string, form: URLSearchParams): Promise<Response> {
  const signal = AbortSignal.timeout(patienceMs);
  const answer = await fetch(url, { method: "POST", body: form, signal }).catch((cause) => {
    throw new Failure(`the search store at ${new URL(url).origin} does not answer`, { cause, next });
  });
  if (answer.ok) return answer;
  const reason = printable((await answer.text()).trim().slice(0, 500));
  if (answer.status === 400)
    throw new Failure(`the search store does not understand the query: ${reason}`, {
      next: "npm run logs -- --help",
    });
  throw new Failure(`the search store at ${new URL(url).origin} answers ${answer.status}`, {
    cause: answer.status === 502 ? undefined : reason,
    next,
  });
}

const contentOf = ({ _time, request_id, _msg, ...row }: Row): string =>
  [_time, request_id, request_id ? "" : (row.pod ?? row.uid), _msg].join("\t");

/** Two rows of the same identity are one line that was sent on twice. */
export const identityOf = (row: Row): string => [contentOf(row), row.file, row.offset].join("\t");

/**
 * Each line once. Two rows with the same place in the same log are one line that was sent on twice. An archive does not
 * know that place, so a row out of an archive is left out if the line came from its node's store as well.
 */
export function unique(rows: Row[]): Row[] {
  const once = [...new Map(rows.map((row) => [identityOf(row), row])).values()];
  const fromStores = new Set(once.filter(({ archive }) => archive === undefined).map(contentOf));
  return once.filter((row) => row.archive === undefined || !fromStores.has(contentOf(row)));
}

/** Where a message of a request was shown first, and when it was written there. */
type Shown = Map<string, { pod: string | undefined; time: number }>;

/**
 * Leaves out what a retry wrote on a second pod: the gateway retries under the same request id and a client under the
 * same key. The pod that has a request's message first keeps its lines, as in a restore.
 * @param rows in the order in which they are shown
 * @param shown what was shown before; each request that is shown now is added
 */
export function withoutRepeats(rows: Row[], shown: Shown): Row[] {
  return rows.filter(({ request_id, _msg, _time = "", pod, uid }) => {
    if (!request_id) return true;
    const request = `${request_id}\t${_msg}`;
    const first = shown.get(request);
    if (!first) shown.set(request, { pod: pod ?? uid, time: Date.parse(_time) });
    return !first || first.pod === (pod ?? uid);
  });
}

/** By time, then by place: lines of one moment stay in the order in which their file has them. */
export function inOrder(rows: Row[]): Row[] {
  const keyed = rows.map((row) => ({ row, time: row._time ?? "", file: row.file ?? "" }));
  return keyed
    .sort(
      (a, b) =>
        compare(instant(a.time), instant(b.time)) ||
        compare(a.file, b.file) ||
        Number(a.row.offset ?? 0) - Number(b.row.offset ?? 0),
    )
    .map(({ row }) => row);
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

// Fractions of a second have as many digits as they need: 12.5Z comes after 12.45Z, and 12Z before both.
const instant = (time: string): string => {
  const [, second = time, fraction = ""] = /^(.*?)(?:\.(\d+))?Z$/.exec(time) ?? [];
  return `${second}.${fraction.padEnd(9, "0")}`;
};

// C0 controls except tab, DEL, C1 controls, line separators, and what reverses the direction of text.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a terminal must not be sent
const unsafe = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** A text that is safe to send to a terminal: control characters become `\xNN` or `\u{NNNN}`. */
export const printable = (text: string): string =>
  text.replace(unsafe, (character) => {
    const code = character.charCodeAt(0).toString(16);
    return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u{${code}}`;
  });

/** A row as it is printed: time, pod, request id and message, or JSON if it is not a line. */
export function textOf(row: Row, json: boolean): string {
  if (json || row._time === undefined) return printable(JSON.stringify(row));
  const { _time, pod, uid, request_id, _msg } = row;
  return printable([_time, pod || uid || "-", request_id || "-", _msg ?? ""].join(" "));
}

// A line that becomes visible later than this after it was written is not shown live.
const lateMs = 30_000;
const pauseMs = 300;
const burst = 10_000;

/**
 * Passes lines on as they come, until it is stopped. It waits while the search store does not answer.
 * @param note is told once of each problem
 */
export async function* follow(
  url: string,
  question: Omit<Question, "to" | "limit">,
  stop: AbortSignal,
  note: (text: string) => void,
): AsyncGenerator<Row[]> {
  const seen = new Map<string, number>();
  const shown: Shown = new Map();
  let from = question.from.getTime();
  let away = false;
  while (!stop.aborted) {
    const asked = Date.now();
    try {
      const { rows, cut } = await ask(url, { ...question, from: new Date(from), limit: burst });
      if (away) note("the search store answers again");
      away = false;
      if (cut && rows.some((row) => !seen.has(identityOf(row))))
        note(
          `more than ${burst} lines in ${Math.round((asked - from) / 1000)} s: the older ones of them are left out`,
        );
      const unseen = rows.filter((row) => !seen.has(identityOf(row)));
      for (const row of unseen) seen.set(identityOf(row), Date.parse(row._time ?? ""));
      const fresh = withoutRepeats(unseen, shown);
      if (fresh.length > 0) yield fresh;
      from = Math.max(from, asked - lateMs);
      for (const [identity, time] of seen) if (!(time >= from - 1000)) seen.delete(identity);
      for (const [request, { time }] of shown) if (!(time >= from - 1000)) shown.delete(request);
    } catch (error) {
      if (!(error instanceof Failure) || error.message.includes("understand")) throw error;
      if (!away) note(`${error.message}; waiting for it`);
      away = true;
    }
    await sleep(pauseMs);
  }
}
