let waiting = [];
let sending = false;

async function send() {
  if (sending) return;
  sending = true;
  while (waiting.length) {
    const batch = waiting;
    waiting = [];
    await fetch("/report", { method: "POST", body: JSON.stringify(batch) });
  }
  sending = false;
}

onmessage = (event) => {
  waiting.push(event.data);
  send();
};
setInterval(() => {
  waiting.push({ alive: true });
  send();
}, 1000);
