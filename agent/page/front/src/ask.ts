// Questions to the server, answered in JSON.

export async function ask<T>(path: string, query: Record<string, string | number> = {}): Promise<T> {
  const address = new URL(path, location.href);
  for (const [name, value] of Object.entries(query)) address.searchParams.set(name, `${value}`);
  return read<T>(await fetch(address));
}

export async function tell<T>(path: string, content: unknown): Promise<T> {
  return read<T>(await fetch(new URL(path, location.href), { method: "POST", body: JSON.stringify(content) }));
}

async function read<T>(answer: Response): Promise<T> {
  const content = (await answer.json()) as T & { problem?: string };
  if (!answer.ok) throw new Error(content.problem ?? `the server answered ${answer.status}`);
  return content;
}
