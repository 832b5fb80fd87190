import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.gson.GsonBuilder;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.ByteString;
import goodstrace.log.v1.Log.Checkpoint;
import goodstrace.log.v1.Log.SealedEntry;
import goodstrace.query.v1.Trace.TraceRequest;
import goodstrace.query.v1.Trace.TraceResponse;
import io.grpc.CallOptions;
import io.grpc.ClientInterceptors;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.io.ByteArrayOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Traces goods by gRPC, believes nothing that is not proved, and prints them level by level. See docs/clients.md. */
final class Client {
    private static final MethodDescriptor<TraceRequest, TraceResponse> TRACE = MethodDescriptor.<TraceRequest, TraceResponse>newBuilder()
        .setType(MethodDescriptor.MethodType.UNARY).setFullMethodName("goodstrace.query.v1.TraceService/Trace")
        .setRequestMarshaller(ProtoUtils.marshaller(TraceRequest.getDefaultInstance()))
        .setResponseMarshaller(ProtoUtils.marshaller(TraceResponse.getDefaultInstance())).build();

    private record Key(String name, byte[] id, byte[] key) {}

    private record Tree(long size, byte[] root) {}

    /** VKEYS HOST:PORT KEY, or VKEYS ANSWER; VKEYS is a file of trusted keys, ANSWER one of a TraceResponse. */
    public static void main(String[] arguments) throws Exception {
        try {
            List<Key> keys = new ArrayList<>();
            for (String vkey : Files.readAllLines(Path.of(arguments[0]))) keys.add(readKey(vkey));
            TraceResponse answer = arguments.length > 2 ? trace(arguments[1], arguments[2])
                : TraceResponse.parseFrom(Files.readAllBytes(Path.of(arguments[1])));
            System.out.writeBytes(String.join("\n", show(answer, keys)).concat("\n").getBytes(UTF_8));
        } catch (RuntimeException refused) {
            System.err.println("refused: " + refused.getMessage());
            System.exit(1);
        }
    }

    /** Asks for a trace page by page; all pages are of the same checkpoints. */
    private static TraceResponse trace(String target, String key) {
        var channel = Grpc.newChannelBuilder(target, InsecureChannelCredentials.create()).build();
        var user = new Metadata();
        user.put(Metadata.Key.of("goodstrace-user", Metadata.ASCII_STRING_MARSHALLER), "example-java");
        var shown = System.getenv().getOrDefault("GOODSTRACE_API_KEY", "");
        if (!shown.isEmpty()) {
            user.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + shown);
        }
        var named = ClientInterceptors.intercept(channel, MetadataUtils.newAttachHeadersInterceptor(user));
        var whole = TraceResponse.newBuilder();
        do {
            var request = TraceRequest.newBuilder().setKey(key).setPurpose("an example").setPageToken(whole.getNextPageToken());
            var options = CallOptions.DEFAULT.withDeadlineAfter(30, TimeUnit.SECONDS);
            var page = ClientCalls.blockingUnaryCall(named, TRACE, options, request.build());
            whole.clearCheckpoints().clearNextPageToken().mergeFrom(page);
        } while (!whole.getNextPageToken().isEmpty());
        channel.shutdownNow();
        return whole.build();
    }

    /** Verifies a whole answer and gives it as lines, level by level. */
    private static List<String> show(TraceResponse answer, List<Key> keys) throws Exception {
        Map<String, Tree> trees = new LinkedHashMap<>();
        for (var each : answer.getCheckpointsList()) check(trees.put(each.getLog(), open(each, keys)) == null, "two checkpoints of a log");
        Map<String, String> events = new HashMap<>();
        for (var event : answer.getEventsList()) {
            for (var sealed : Stream.concat(event.getAlsoAtList().stream(), Stream.of(event.getSealed())).toList()) {
                String line = verify(sealed, trees.get(sealed.getLog()), event.getIdentity());
                events.put(event.getIdentity(), line + " at " + sealed.getLog() + "[" + sealed.getIndex() + "]");
            }
        }
        boolean once = events.size() == answer.getEventsCount() && events.size() == answer.getTotalEvents();
        check(once, "an event is missing or shown twice");
        List<String> lines = new ArrayList<>(List.of(answer.getKey()));
        for (var node : answer.getNodesList()) {
            String way = node.getDirection().name().replace("DIRECTION_", "").toLowerCase();
            lines.add(String.join(" ", "level", "" + node.getLevel(), way, node.getRole(), node.getGrade(), node.getKey()));
            for (var link : node.getLinksList()) {
                for (String identity : link.getIdentitiesList()) {
                    check(events.containsKey(identity), "a link of " + node.getKey() + " rests on an event that is not shown");
                    lines.add("  " + link.getKind() + " of " + link.getKey() + " by " + events.get(identity));
                }
            }
            for (var event : answer.getEventsList())
                for (var mention : event.getMentionsList())
                    if (mention.getKey().equals(node.getKey())) lines.add("  " + events.get(event.getIdentity()));
        }
        trees.forEach((log, tree) -> lines.add("proved under " + log + " of " + tree.size + " entries"));
        return lines;
    }

    /** A vkey is {@code <name>+<key ID in hex>+<base64 of the type, 1, and the key>}. Source: C2SP signed-note. */
    private static Key readKey(String vkey) throws Exception {
        String[] pieces = vkey.split("\\+", 3);
        byte[] typed = Base64.getDecoder().decode(pieces[2]);
        byte[] id = Arrays.copyOf(sha256((pieces[0] + "\n").getBytes(UTF_8), typed), 4);
        check(typed.length == 33 && typed[0] == 1 && HexFormat.of().formatHex(id).equals(pieces[1]), "not a vkey: " + vkey);
        return new Key(pieces[0], id, Arrays.copyOfRange(typed, 1, 33));
    }

    /** A checkpoint is a note: text, empty line, signature lines. A trusted key, named after the log, must have signed it. */
    private static Tree open(Checkpoint checkpoint, List<Key> keys) throws Exception {
        int end = checkpoint.getNote().lastIndexOf("\n\n");
        check(end > 0, "not a checkpoint");
        String text = checkpoint.getNote().substring(0, end + 1);
        String[] lines = text.split("\n"); // origin, size, root
        boolean signed = false;
        for (String line : checkpoint.getNote().substring(end + 2).split("\n")) {
            for (Key key : keys) {
                byte[] data = Base64.getDecoder().decode(line.substring(line.lastIndexOf(' ') + 1));
                if (!line.startsWith("— " + key.name + " ") || !Arrays.equals(Arrays.copyOf(data, 4), key.id)) continue;
                byte[] spki = concat(HexFormat.of().parseHex("302a300506032b6570032100"), key.key);
                Signature verifier = Signature.getInstance("Ed25519");
                verifier.initVerify(KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(spki)));
                verifier.update(text.getBytes(UTF_8));
                signed |= key.name.equals(lines[0]) && data.length == 68 && verifier.verify(data, 4, 64);
            }
        }
        String log = checkpoint.getLog();
        check(signed && lines.length == 3 && lines[0].endsWith("/" + log), "no trusted key has signed the checkpoint of " + log);
        return new Tree(Long.parseLong(lines[1]), Base64.getDecoder().decode(lines[2]));
    }

    /** Checks that an event's entry is in its log, and that the parts shown are those it commits to. Gives a line to print. */
    private static String verify(SealedEntry sealed, Tree under, String identity) throws Exception {
        check(under != null, "no checkpoint of its log");
        verifyInclusion(sealed, under);
        JsonObject entry = JsonParser.parseString(sealed.getEntry().toStringUtf8()).getAsJsonObject();
        check(entry.get("kind").getAsString().equals("event"), "not the entry of an event");
        Map<String, String> commits = new HashMap<>();
        entry.getAsJsonArray("parts").forEach(part -> commits.put(part.getAsJsonObject().get("name").getAsString(), part.getAsJsonObject().get("commit").getAsString()));
        String line = "an event withheld";
        for (var part : sealed.getPartsList()) {
            byte[] head = concat(new byte[] {2, (byte) part.getName().length()}, part.getName().getBytes(UTF_8), part.getSalt().toByteArray());
            String commit = HexFormat.of().formatHex(sha256(head, part.getContent().toByteArray()));
            // Removed, so that a part is not shown twice.
            check(part.getSalt().size() == 32 && commit.equals(commits.remove(part.getName())), part.getName() + " is not what the entry commits to");
            if (!part.getName().equals("facts")) continue;
            JsonObject facts = JsonParser.parseString(part.getContent().toStringUtf8()).getAsJsonObject();
            String digest = facts.has("correction") ? facts.getAsJsonObject("correction").get("digest").getAsString() : "";
            var names = List.of(entry.get("merchant").getAsLong(), text(facts, "event_id"), text(facts, "event_hash"), digest);
            byte[] named = new GsonBuilder().disableHtmlEscaping().create().toJson(names).getBytes(UTF_8);
            check(HexFormat.of().formatHex(sha256(named)).equals(identity), "not the event " + identity);
            String time = Instant.ofEpochSecond(Math.floorDiv(facts.get("time_us").getAsLong(), 1_000_000L)).toString();
            line = Stream.of(time, text(facts, "type"), text(facts, "action"), text(facts, "step"), text(facts, "event_id"))
                .filter(word -> !word.isEmpty()).collect(Collectors.joining(" "));
        }
        return line;
    }

    /** Source: RFC 9162 section 2.1.3.2. */
    private static void verifyInclusion(SealedEntry sealed, Tree under) throws Exception {
        long node = sealed.getIndex();
        long last = under.size - 1;
        check(0 <= node && node <= last, "there is no such index");
        byte[] hash = sha256(new byte[] {0}, sealed.getEntry().toByteArray());
        for (ByteString each : sealed.getInclusionProofList()) {
            check(last > 0 && each.size() == 32, "the inclusion proof is too long");
            boolean isRight = node % 2 == 1 || node == last;
            hash = isRight ? sha256(new byte[] {1}, each.toByteArray(), hash) : sha256(new byte[] {1}, hash, each.toByteArray());
            for (; isRight && node % 2 == 0 && node != 0; node /= 2) last /= 2;
            node /= 2;
            last /= 2;
        }
        check(last == 0 && Arrays.equals(hash, under.root), "the inclusion proof does not lead to the root");
    }

    private static String text(JsonObject object, String name) {
        return object.has(name) ? object.get(name).getAsString() : "";
    }

    private static byte[] sha256(byte[]... pieces) throws Exception {
        return MessageDigest.getInstance("SHA-256").digest(concat(pieces));
    }

    private static byte[] concat(byte[]... pieces) {
        var whole = new ByteArrayOutputStream();
        for (byte[] piece : pieces) whole.writeBytes(piece);
        return whole.toByteArray();
    }

    private static void check(boolean holds, String why) {
        if (!holds) throw new IllegalStateException(why);
    }
}
