// Soft against majority label along a clip: the same panels as SceneLabels.panels.
function view(values, data) {
  var end = values.end, count = Math.min(values.sampled, end), shown = data.shown, muted = data.colours[data.colours.length - 1];
  var picked = range(count).map(function (i) { return Math.floor((2 * i + 1) * end / (2 * count)); });
  var logits = data.logits.slice(), frames = fill(logits.length, 0);
  shown.forEach(function (scene, i) { logits[scene] = values["scene" + i]; });
  picked.forEach(function (i) { frames[data.kinds[i]] += 1; });
  var top = Math.max.apply(null, logits), logAll = Math.log(sum(logits.map(function (x) { return Math.exp(x - top); }))) + top;
  var majority = best(frames), labels = {
    soft: frames.map(function (n) { return n / count; }),
    majority: frames.map(function (_, scene) { return scene === majority ? 1 : 0; }),
  };
  var shares = [labels.soft, labels.majority, softmax(logits)];
  var rows = shown.map(function (scene) { return [data.names[scene], shares.map(function (row) { return row[scene]; })]; });
  rows.push([(logits.length - shown.length) + " other scenes", range(3).map(function (n) {
    return Math.max(0, 1 - sum(rows.map(function (row) { return row[1][n]; })));
  })]);
  var titles = ["Soft label", "Majority label", "The model's softmax"];
  return [
    { kind: "table", title: "What the same model pays (Eq. 2)", head: ["label", "cross-entropy", "lowest possible", "above the lowest"],
      rows: ["soft", "majority"].map(function (kind) {
        var cost = sum(labels[kind].map(function (share, scene) { return share ? share * (logAll - logits[scene]) : 0; }));
        var least = sum(labels[kind].map(function (share) { return share ? -share * Math.log(share) : 0; }));
        return { cells: [kind, fixed(cost, 3), fixed(least, 3), fixed(cost - least, 3)], marks: fill(4, ""), strong: kind === "soft" };
      }) },
    { kind: "strip", title: "The clip's frames and their scenes", frames: data.kinds.map(function (kind, i) {
      var at = shown.indexOf(kind);
      return { frame: i, label: data.names[kind], colour: at < 0 ? muted : data.colours[at],
        state: i >= end ? "cut off" : picked.indexOf(i) >= 0 ? "sampled" : "left out" };
    }) },
    { kind: "note", text: count + " of " + end + " frames are sampled. The majority label is “" + data.names[majority]
      + "”; it says nothing of the other " + percent(1 - labels.soft[majority], 0) + " of these frames." },
  ].concat(titles.map(function (title, n) {
    return { kind: "bars", title: title, colour: n < 2 ? data.colours[0] : muted, columns: [""], rows: rows.map(function (row) {
      return { label: row[0], values: [row[1][n]], texts: [percent(row[1][n], 0)], strong: false };
    }) };
  }));
}
